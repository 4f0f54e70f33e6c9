//! `http` faults as real clients see them: each gets exactly the answer that was asked for, and opens its connection again
//! as HTTP says, because that answer ends it.

use std::fmt::Write as _;
use std::time::Duration;

use chaos_tests::{Process, Skip, need, require_program};
use serde_json::json;

use crate::http::{LATE, Nginx, PORT, Reply, Seen, Site, UNAVAILABLE, unavailable, with};
use crate::http_hyper::Hyper;

/// Two that pass, one that is answered, and one that passes again.
const PATHS: [&str; 4] = ["/free/1", "/free/2", "/pay", "/free/3"];

/// What a client is to report of the answers to [`PATHS`]: status, `Retry-After`, `X-Why`, `Content-Type`, body.
const REPORT: &str = "200|||text/plain|served /free/1\n\
     200|||text/plain|served /free/2\n\
     503|5|a drill|text/plain; charset=utf-8|try later\n\
     200|||text/plain|served /free/3\n";

fn site() -> Site {
    let site = Site::new();
    let pay = with(unavailable(), json!({"path": "/pay*"}));
    site.ctl.apply(&[site.fault("pay", pay)]);
    site
}

impl Site {
    fn urls(&self) -> [String; 4] {
        PATHS.map(|path| self.url(path))
    }

    /// A client that is started with these words and the addresses, and reports.
    #[track_caller]
    fn assert_reports(&self, words: &[&str]) {
        let urls = self.urls();
        let argv: Vec<&str> = words
            .iter()
            .copied()
            .chain(urls.iter().map(String::as_str))
            .collect();
        let ended = Process::spawn(&self.net.client.netns, None, &argv).finish(LATE * 3);
        assert!(ended.status.success(), "{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.stdout, REPORT, "{}", ended.stderr);
        self.assert_reopened();
    }

    /// The server has seen two requests on one connection, and the last on another; the counters say the same.
    #[track_caller]
    fn assert_reopened(&self) {
        let seen = self.web.wait_for(3);
        let uris: Vec<&str> = seen.iter().map(|seen| seen.uri.as_str()).collect();
        assert_eq!(uris, ["/free/1", "/free/2", "/free/3"]);
        let places: Vec<u64> = seen.iter().map(|seen| seen.nth).collect();
        assert_eq!(places, [1, 2, 1], "{seen:#?}");
        assert!(
            seen[0].connection == seen[1].connection && seen[1].connection != seen[2].connection,
            "{seen:#?}"
        );
        self.assert_one_answered();
    }

    #[track_caller]
    fn assert_one_answered(&self) {
        let view = self.ctl.fault("pay");
        assert_eq!(
            (view.packets("matched"), view.packets("answered")),
            (1, 1),
            "{}",
            view.0
        );
        assert_eq!(view.packets("unseen"), 0, "{}", view.0);
        self.assert_nothing_hangs();
    }
}

#[test]
fn curl_gets_every_byte_of_the_answer_and_connects_again() {
    need!(require_program("nginx"));
    for six in [false, true] {
        let site = site();
        let urls = PATHS.map(|path| if six { site.url6(path) } else { site.url(path) });
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let curled = site.try_curl(&urls);
        assert_eq!(curled.code, 0, "{curled}");
        assert!(
            curled
                .text
                .contains(&format!("served /free/2\n{UNAVAILABLE}HTTP/1.1 200 OK\r\n")),
            "{curled}"
        );
        site.assert_reopened();
    }
}

#[test]
fn wget_gets_the_answer_and_connects_again() {
    need!(require_program("nginx"));
    need!(require_program("wget"));
    let site = site();
    let urls = site.urls();
    let mut argv = vec![
        "wget",
        "-S",
        "-t",
        "1",
        "-T",
        "10",
        "--content-on-error",
        "-O",
        "-",
    ];
    argv.extend(urls.iter().map(String::as_str));
    let ended = Process::spawn(&site.net.client.netns, None, &argv).finish(LATE * 3);
    // 8: a server answered with an error.
    assert_eq!(ended.status.code(), Some(8), "{}", ended.stderr);
    assert_eq!(
        ended.stdout, "served /free/1\nserved /free/2\ntry later\nserved /free/3\n",
        "{}",
        ended.stderr
    );
    for told in [
        "  HTTP/1.1 503 Service Unavailable",
        "  Retry-After: 5",
        "  X-Why: a drill",
    ] {
        assert_eq!(ended.stderr.matches(told).count(), 1, "{told}: {}", ended.stderr);
    }
    site.assert_reopened();
}

/// One that has `requests`: Debian's, or whatever comes first.
fn python_with_requests() -> Result<String, Skip> {
    let found = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        std::process::Command::new(python)
            .args(["-c", "import requests"])
            .output()
            .is_ok_and(|output| output.status.success())
    });
    found
        .map(str::to_owned)
        .ok_or_else(|| Skip::MissingProgram("python3-requests".to_owned()))
}

#[test]
fn a_session_of_python_requests_gets_the_answer_and_connects_again() {
    const SCRIPT: &str = "import requests, sys\n\
        session = requests.Session()\n\
        session.trust_env = False\n\
        for url in sys.argv[1:]:\n\
        \x20   answer = session.get(url, timeout=10)\n\
        \x20   names = ['Retry-After', 'X-Why', 'Content-Type']\n\
        \x20   fields = [str(answer.status_code)] + [answer.headers.get(name, '') for name in names]\n\
        \x20   print('|'.join(fields + [answer.text]), end='')\n";
    need!(require_program("nginx"));
    let python = need!(python_with_requests());
    site().assert_reports(&[&python, "-c", SCRIPT]);
}

#[test]
fn pythons_own_client_gets_the_answer_and_connects_again() {
    const SCRIPT: &str = "import http.client, sys, urllib.parse\n\
        urls = [urllib.parse.urlsplit(url) for url in sys.argv[1:]]\n\
        connection = http.client.HTTPConnection(urls[0].netloc, timeout=10)\n\
        for url in urls:\n\
        \x20   connection.request('GET', url.path)\n\
        \x20   answer = connection.getresponse()\n\
        \x20   names = ['Retry-After', 'X-Why', 'Content-Type']\n\
        \x20   fields = [str(answer.status)] + [answer.getheader(name, '') for name in names]\n\
        \x20   print('|'.join(fields + [answer.read().decode()]), end='')\n";
    need!(require_program("nginx"));
    need!(require_program("python3"));
    site().assert_reports(&["python3", "-c", SCRIPT]);
}

#[test]
fn gos_default_client_gets_the_answer_and_connects_again() {
    const PROGRAM: &str = r#"package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	for _, url := range os.Args[1:] {
		answer, err := http.Get(url)
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			panic(err)
		}
		answer.Body.Close()
		header := answer.Header
		fmt.Printf("%d|%s|%s|%s|%s", answer.StatusCode, header.Get("Retry-After"), header.Get("X-Why"), header.Get("Content-Type"), body)
	}
}
"#;
    need!(require_program("nginx"));
    need!(require_program("go"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let at = folder.path();
    std::fs::write(at.join("main.go"), PROGRAM).expect("writes");
    let output = std::process::Command::new("go")
        .args(["build", "-o", "client", "main.go"])
        .current_dir(at)
        // Without C: the client is to run as it is, wherever.
        .envs([("CGO_ENABLED", "0"), ("GO111MODULE", "off"), ("GOFLAGS", "")])
        .env("GOCACHE", at.join("cache"))
        .env("GOPATH", at.join("path"))
        .output()
        .expect("go runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    site().assert_reports(&[&at.join("client").display().to_string()]);
}

/// hyper, on which the usual clients of Rust stand, with its pool of connections.
#[test]
fn rusts_hyper_gets_the_answer_and_connects_again() {
    need!(require_program("nginx"));
    let site = site();
    let urls = site.urls();
    let answers = Hyper::enter(&site.net.client.netns, async |client| {
        let mut report = String::new();
        for url in &urls {
            let answer = client.get(url).await.expect("an answer");
            let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
            let fields = [
                answer.status.to_string(),
                header("retry-after"),
                header("x-why"),
                header("content-type"),
                answer.body.clone(),
            ];
            report.push_str(&fields.join("|"));
        }
        report
    });
    assert_eq!(answers, REPORT);
    site.assert_reopened();
}

/// A browser that asks one after the other, and shows what it got.
#[test]
fn chromium_gets_the_answer() {
    need!(require_program("nginx"));
    need!(require_program("chromium"));
    let page = format!(
        "<!doctype html><meta charset=utf-8><pre id=out></pre><script>\n\
         let out = '';\n\
         for (const path of {PATHS:?}) {{\n\
           const ask = new XMLHttpRequest();\n\
           ask.open('GET', path, false);\n\
           ask.send();\n\
           const header = (name) => ask.getResponseHeader(name) || '';\n\
           out += [ask.status, header('Retry-After'), header('X-Why'), header('Content-Type'), ask.responseText].join('|');\n\
         }}\n\
         document.getElementById('out').textContent = out;\n\
         </script>\n"
    );
    let site = Site::prepared(
        "server { listen 8080; root AT/; location = /page.html { default_type text/html; }\n\
         location = /favicon.ico { access_log off; return 204; }\n\
         location / { return 200 \"served $request_uri\\n\"; } }",
        |folder| std::fs::write(folder.join("page.html"), page).expect("writes"),
    );
    let pay = with(unavailable(), json!({"path": "/pay*"}));
    site.ctl.apply(&[site.fault("pay", pay)]);
    let profile = tempfile::tempdir().expect("a temporary folder can be made");
    let profile = format!("--user-data-dir={}", profile.path().display());
    let url = site.url("/page.html");
    let argv = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-proxy-server",
        &profile,
        "--timeout=20000",
        "--dump-dom",
        &url,
    ];
    let ended = Process::spawn(&site.net.client.netns, None, &argv).finish(Duration::from_secs(60));
    let shown = ended
        .stdout
        .split_once("<pre id=\"out\">")
        .and_then(|(_, rest)| rest.split_once("</pre>"))
        .map(|(shown, _)| shown);
    assert_eq!(shown, Some(REPORT), "{}{}", ended.stdout, ended.stderr);
    let uris = site.web.uris();
    assert_eq!(uris, ["/page.html", "/free/1", "/free/2", "/free/3"]);
    site.assert_one_answered();
}

/// The answer to the proxy is passed on to whoever asked it, and its next request takes a new connection.
#[test]
fn a_reverse_proxy_passes_the_answer_on_and_connects_again() {
    need!(require_program("nginx"));
    let site = site();
    let (netns, upstream) = (&site.net.client.netns, site.net.server.at(PORT));
    let proxy = Nginx::start(
        netns,
        8088,
        &format!(
            "upstream payments {{ server {upstream}; keepalive 8; }}\n\
             server {{ listen 8088; location / {{ proxy_pass http://payments; proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\"; proxy_next_upstream off; }} }}"
        ),
        |_| {},
    );
    let urls = PATHS.map(|path| format!("http://127.0.0.1:8088{path}"));
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let curled = site.try_curl(&urls);
    assert_eq!(curled.code, 0, "{curled}");
    let mut rest = curled.text.as_bytes();
    let mut report = String::new();
    for _ in PATHS {
        let answer = Reply::read_one(&mut rest);
        let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        let _ = write!(
            report,
            "{}|{}|{}|{}|{}",
            answer.status,
            header("retry-after"),
            header("x-why"),
            header("content-type"),
            answer.body
        );
    }
    assert_eq!(report, REPORT, "{curled}");
    // All four on one connection of the client's: its own is not hurt.
    let asked = proxy.wait_for(4);
    assert_eq!(
        asked.iter().map(|seen| seen.nth).collect::<Vec<_>>(),
        [1, 2, 3, 4],
        "{asked:#?}"
    );
    // It keeps a connection for the next time, which must be over before nothing is to hang.
    drop(proxy);
    site.assert_reopened();
}

/// A fault on all that a client sends leaves alone what is no HTTP.
#[test]
fn redis_beside_it_is_not_touched() {
    need!(require_program("nginx"));
    need!(require_program("redis-server"));
    need!(require_program("redis-cli"));
    let site = Site::new();
    let server = &site.net.server;
    let argv = [
        "redis-server",
        "--port",
        "6379",
        "--bind",
        "10.77.0.2",
        "--protected-mode",
        "no",
        "--save",
        "",
        "--appendonly",
        "no",
    ];
    let _redis = Process::spawn(&server.netns, None, &argv).listens(&server.netns, 6379);
    let all = site
        .fault("all", unavailable())
        .traffic(json!({"protocol": "tcp"}));
    site.ctl.apply(&[all]);
    // A value that looks like a request, because it may: it never begins a segment.
    let ask = |words: &[&str]| {
        let argv: Vec<&str> = ["redis-cli", "-h", "10.77.0.2", "--raw"]
            .iter()
            .chain(words)
            .copied()
            .collect();
        site.net.client.netns.run(&argv)
    };
    for round in 0..20 {
        let value = format!("GET /pay/{round} HTTP/1.1\r\n\r\n");
        assert_eq!(ask(&["SET", "order", &value]), "OK\n");
        assert_eq!(ask(&["GET", "order"]), format!("{value}\n"));
        assert_eq!(site.status("/"), 503);
    }
    let view = site.ctl.fault("all");
    assert_eq!(
        (
            view.packets("matched"),
            view.packets("answered"),
            view.packets("unseen")
        ),
        (20, 20, 0),
        "{}",
        view.0
    );
    assert_eq!(site.web.seen(), Vec::<Seen>::new());
    site.assert_nothing_hangs();
}

/// Both families, and both ends: what a client sees is the same.
#[test]
fn head_gets_the_headers_of_the_answer_and_204_has_no_length() {
    need!(require_program("nginx"));
    let site = Site::new();
    for (n, to) in [site.net.server.at(PORT), site.net.server.at6(PORT)]
        .into_iter()
        .enumerate()
    {
        for (side, fault) in [
            ("client", site.fault("some", unavailable())),
            ("server", site.fault_at_server("some", unavailable())),
        ] {
            site.ctl.apply(&[fault]);
            let mut wire = site.connect(to);
            wire.ask("HEAD", "/");
            let answer = wire.bare_reply();
            assert_eq!(format!("{}try later\n", answer.head), UNAVAILABLE, "{side} {to}");
            wire.assert_closed();
            let mut wire = site.connect(to);
            wire.ask("GET", "/");
            assert_eq!(wire.reply().text(), UNAVAILABLE, "{side} {to}");
            wire.assert_closed();
            site.delete("some");
            let nothing = json!({"status": 204, "headers": {"X-Why": "a drill"}});
            site.ctl.apply(&[if side == "client" {
                site.fault("none", nothing)
            } else {
                site.fault_at_server("none", nothing)
            }]);
            let mut wire = site.connect(to);
            wire.ask("DELETE", "/");
            let answer = wire.reply();
            assert_eq!(
                answer.text(),
                "HTTP/1.1 204 No Content\r\nX-Why: a drill\r\nConnection: close\r\n\r\n",
                "{side} {to}"
            );
            wire.assert_closed();
            site.delete("none");
        }
        assert_eq!(site.web.seen(), Vec::<Seen>::new(), "{n}");
    }
    site.assert_nothing_hangs();
}

/// The longest body that an answer may have arrives whole.
#[test]
fn an_answer_of_the_greatest_length_arrives_whole() {
    need!(require_program("nginx"));
    let site = Site::new();
    let body = "x".repeat(1024);
    let long = json!({"status": 429, "headers": {"Retry-After": "1"}, "body": body});
    site.ctl.apply(&[site.fault("long", long)]);
    for url in [site.url("/"), site.url6("/")] {
        let answer = site.curl(&[&url]);
        assert_eq!(
            (answer.status, answer.header("retry-after"), answer.body.as_str()),
            (429, Some("1"), body.as_str())
        );
    }
    site.assert_nothing_hangs();
}
