//! The network way in: mTLS or nothing, and tokens for reading on the loopback.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use chaos_tests::{Daemon, FaultFile, Output, Pair, binary, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::people::{output, refusals};
use crate::policy::PolicyFile;

const PORT: &str = "127.0.0.1:7443";

/// A CA, and what it has issued.
struct Pki(TempDir);

impl Pki {
    fn new() -> Self {
        let pki = Self(TempDir::new().expect("a temporary folder can be made"));
        pki.run(&["init"]);
        pki
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(binary("chaosctl"));
        command.arg("pki").args(args).arg("--dir").arg(self.0.path());
        let ran = output(&mut command);
        assert_eq!(ran.code, 0, "{args:?}: {ran}");
        ran
    }

    /// Its fingerprint.
    fn issue(&self, args: &[&str]) -> String {
        let ran = self.run(&[&["issue"], args].concat());
        let last = ran.stdout.lines().last().and_then(|line| line.split(' ').nth(1));
        last.expect("it tells the fingerprint").to_owned()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.file(name).to_str().expect("it is text").to_owned()
    }

    /// A daemon that listens with a certificate of this CA, in a namespace of its own.
    fn daemon(&self, more: &[&str]) -> Daemon {
        self.issue(&["node", "--daemon", "--address", "127.0.0.1"]);
        let (cert, key, ca) = (self.text("node.crt"), self.text("node.key"), self.text("ca.crt"));
        let args = [
            "--listen",
            PORT,
            "--tls-cert",
            &cert,
            "--tls-key",
            &key,
            "--tls-client-ca",
            &ca,
        ];
        Daemon::builder().args(&args).args(more).start()
    }

    /// `chaosctl --server`, as the owner of a certificate of `whose` CA.
    fn ctl(&self, daemon: &Daemon, whose: &Self, name: &str, args: &[&str]) -> Output {
        let mut command = Command::new(binary("chaosctl"));
        command.arg("--server").arg(format!("https://{PORT}"));
        command.arg("--cert").arg(whose.file(&format!("{name}.crt")));
        command.arg("--key").arg(whose.file(&format!("{name}.key")));
        command.arg("--ca").arg(self.file("ca.crt"));
        command.args(args).env("NO_COLOR", "1");
        daemon.netns().enter(|| output(&mut command))
    }

    fn apply(&self, daemon: &Daemon, name: &str, fault: &FaultFile) -> Output {
        let file = self.file("fault.yaml");
        fs::write(&file, fault.to_string()).expect("it can be written");
        self.ctl(daemon, self, name, &["apply", "-f", &self.text("fault.yaml")])
    }
}

/// The last refusal, once it is taken down.
fn last_refusal(daemon: &Daemon, count: usize) -> Value {
    eventually(Duration::from_secs(5), "the refusal is taken down", || {
        refusals(daemon).len() >= count
    });
    let mut all = refusals(daemon);
    assert_eq!(all.len(), count, "{all:#?}");
    all.pop().unwrap_or_default()
}

#[test]
fn certificates_have_roles_and_wrong_ones_are_refused_and_taken_down() {
    let net = Pair::new();
    let (pki, other) = (Pki::new(), Pki::new());
    let daemon = pki.daemon(&[]);
    pki.issue(&["vera", "--role", "viewer"]);
    let print = pki.issue(&["olaf", "--role", "operator"]);
    other.issue(&["olaf", "--role", "operator"]);
    pki.issue(&["late", "--role", "admin", "--valid", "1s"]);
    let fault = FaultFile::on_netns("one", &net.client.netns, json!({"drop": {"chance": "10%"}}));

    let seen = pki.ctl(&daemon, &pki, "vera", &["get", "faults"]);
    assert_eq!(seen.code, 0, "{seen}");
    let refused = pki.apply(&daemon, "vera", &fault);
    assert_eq!(refused.code, 14, "{refused}");
    assert!(refused.stderr.contains("operator"), "{refused}");
    let record = last_refusal(&daemon, 1);
    assert_eq!(
        (&record["who"]["by"], &record["who"]["name"]),
        (&json!("certificate"), &json!("vera"))
    );

    let applied = pki.apply(&daemon, "olaf", &fault);
    assert_eq!(applied.code, 0, "{applied}");
    assert_eq!(daemon.ctl().fault("one").phase(), "Active");

    let stranger = pki.ctl(&daemon, &other, "olaf", &["get", "faults"]);
    assert_eq!(stranger.code, 14, "of another CA: {stranger}");
    let record = last_refusal(&daemon, 2);
    assert_eq!(
        (&record["rule"], &record["who"]["name"]),
        (&json!("mtls"), &json!("olaf"))
    );
    assert_ne!(record["who"]["fingerprint"], print.as_str());
    assert!(
        record["who"]["address"]
            .as_str()
            .is_some_and(|at| at.starts_with("127.0.0.1:")),
        "{record}"
    );

    let node = pki.ctl(&daemon, &pki, "node", &["get", "faults"]);
    assert_eq!(node.code, 14, "a daemon's certificate is nobody's: {node}");
    assert_eq!(last_refusal(&daemon, 3)["who"]["name"], "node");

    let mut count = 3;
    eventually(Duration::from_secs(10), "the certificate expires", || {
        let ran = pki.ctl(&daemon, &pki, "late", &["halt", "--release"]);
        let is_refused = ran.code == 14;
        count += usize::from(is_refused);
        is_refused
    });
    let record = last_refusal(&daemon, count);
    assert_eq!(record["who"]["name"], "late", "{record}");
    let why = record["message"].as_str().unwrap_or_default().to_lowercase();
    assert!(why.contains("expired"), "{record}");

    // Nothing but TLS.
    daemon.netns().enter(|| {
        let mut plain = TcpStream::connect(PORT).expect("it listens");
        plain
            .write_all(b"GET /v1/node HTTP/1.1\r\nHost: x\r\n\r\n")
            .expect("it can be written");
        let mut answer = Vec::new();
        // Closed or reset: nothing of HTTP comes back.
        let _ = plain.read_to_end(&mut answer);
        assert!(!String::from_utf8_lossy(&answer).contains("HTTP/"), "{answer:?}");
    });
    assert_eq!(last_refusal(&daemon, count + 1)["who"]["by"], "nobody");
    daemon.ctl().delete("one");
}

#[test]
fn a_stolen_operator_certificate_cannot_exceed_the_policy_and_is_revoked() {
    let net = Pair::new();
    let pki = Pki::new();
    let print = pki.issue(&["olaf", "--role", "operator"]);
    let rules = "limits:\n  chance:\n    drop: 20%\nroles:\n  operator:\n    certificates: [olaf]\n";
    let policy = PolicyFile::new(rules);
    let path = policy.path();
    let daemon = pki.daemon(&["--policy", path.to_str().expect("it is text")]);
    let drop =
        |chance: &str| FaultFile::on_netns("one", &net.client.netns, json!({"drop": {"chance": chance}}));

    let applied = pki.apply(&daemon, "olaf", &drop("20%"));
    assert_eq!(applied.code, 0, "{applied}");
    let refused = pki.apply(&daemon, "olaf", &drop("21%"));
    assert_eq!(refused.code, 14, "{refused}");
    assert!(refused.stderr.contains("limits.chance.drop"), "{refused}");
    let record = last_refusal(&daemon, 1);
    assert_eq!(
        (&record["rule"], &record["who"]["fingerprint"]),
        (&json!("policy"), &json!(print))
    );

    policy.write(&format!("{rules}  revoked: [\"{print}\"]\n"));
    daemon.hangup();
    eventually(Duration::from_secs(5), "the policy is read again", || {
        pki.ctl(&daemon, &pki, "olaf", &["get", "faults"]).code == 14
    });
    let refused = pki.ctl(&daemon, &pki, "olaf", &["halt"]);
    assert_eq!(refused.code, 14, "not even a halt: {refused}");
    assert!(refused.stderr.contains("roles.revoked"), "{refused}");
    assert_eq!(daemon.ctl().fault("one").phase(), "Active");
    let all = refusals(&daemon);
    assert!(
        all.iter().any(|record| record["request"] == "POST /v1/halt"),
        "{all:#?}"
    );
}

#[test]
fn a_fault_on_its_own_namespace_does_not_lock_the_operator_out() {
    let pki = Pki::new();
    pki.issue(&["olaf", "--role", "operator"]);
    let daemon = pki.daemon(&[]);
    let guards = pki.ctl(&daemon, &pki, "olaf", &["status"]);
    assert_eq!(guards.code, 0, "{guards}");
    assert!(
        guards.stdout.contains("api") && guards.stdout.contains("tcp 7443"),
        "{guards}"
    );
}

#[test]
fn the_network_without_mtls_is_refused_at_the_start() {
    let pki = Pki::new();
    let ca = pki.text("ca.crt");
    for (args, word) in [
        (vec!["--listen", "0.0.0.0:7443"], "mTLS"),
        (vec!["--listen", "127.0.0.1:7443"], "mTLS"),
        (
            vec!["--listen", "127.0.0.1:7443", "--tls-client-ca", &ca],
            "--tls-cert is missing",
        ),
        (
            vec!["--listen", "http://192.0.2.7:9090", "--token-file", &ca],
            "loopback",
        ),
    ] {
        let mut command = Command::new(binary("chaos-daemon"));
        command.args([
            "--state-dir",
            "/nonexistent/state",
            "--socket",
            "/nonexistent/api.sock",
        ]);
        let refused = output(command.args(&args));
        assert_eq!(refused.code, 2, "{args:?}: {refused}");
        assert!(refused.stderr.contains(word), "{args:?}: {refused}");
    }
}

#[test]
fn a_token_reads_metrics_and_changes_nothing() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let file = folder.path().join("tokens");
    let token = "a-token-that-nobody-guesses";
    fs::write(&file, format!("{token}\n")).expect("it can be written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&file, mode).expect("its owner may");
    let file = file.to_str().expect("it is text");
    let daemon = Daemon::builder()
        .args(&["--listen", "http://127.0.0.1:9090", "--token-file", file])
        .start();
    let ask = |request: &str, token: Option<&str>| {
        let shown = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let text =
            format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{shown}Content-Length: 0\r\n\r\n");
        daemon.netns().enter(|| {
            let mut stream = TcpStream::connect("127.0.0.1:9090").expect("it listens");
            stream.write_all(text.as_bytes()).expect("it can be written");
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        })
    };
    let status = |answer: &str| answer.split(' ').nth(1).unwrap_or_default().to_owned();
    let metrics = ask("GET /metrics", Some(token));
    assert_eq!(status(&metrics), "200", "{metrics}");
    assert!(metrics.contains("chaos_build_info"), "{metrics}");
    for (request, token, wanted) in [
        ("GET /v1/faults", Some(token), "200"),
        ("GET /metrics", None, "401"),
        ("GET /metrics", Some("a-token-that-somebody-guessed"), "401"),
        ("POST /v1/halt", Some(token), "403"),
        ("DELETE /v1/halt", Some(token), "403"),
        ("DELETE /v1/faults/x", Some(token), "403"),
        ("POST /v1/halt", None, "401"),
    ] {
        let answer = ask(request, token);
        assert_eq!(status(&answer), wanted, "{request} {token:?}: {answer}");
    }
    assert_eq!(refusals(&daemon).len(), 6);
    let mut command = Command::new(binary("chaosctl"));
    command.args([
        "--server",
        "http://127.0.0.1:9090",
        "--token-file",
        file,
        "get",
        "faults",
    ]);
    let seen = daemon.netns().enter(|| output(&mut command));
    assert_eq!(seen.code, 0, "{seen}");
}
