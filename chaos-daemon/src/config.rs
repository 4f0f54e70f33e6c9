//! How the daemon was started: flags, then environment, then the file, then the defaults.
#![forbid(unsafe_code)]

mod listen;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chaos_spec::Duration;
use clap::{CommandFactory, Parser, ValueEnum};
use serde::Deserialize;

use crate::datapath::{self, DatapathOptions};
use crate::engine::EngineOptions;
use crate::observe::log::{self, LogError};
use crate::observe::{Audit, History};
use crate::safety::guard::GuardError;
use crate::safety::policy::PolicyError;
use crate::safety::{GuardList, PolicyKeeper};
use crate::target::names::Servers;
pub use listen::{Listen, ListenError};

/// The settled configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub socket: PathBuf,
    pub state_dir: PathBuf,
    /// How long faults outlive a daemon that hangs.
    pub lease: std::time::Duration,
    pub guards: GuardList,
    pub attach: Attach,
    pub xdp: Xdp,
    pub line: LineChoice,
    /// Active faults at most.
    pub max_faults: usize,
    pub log: String,
    pub log_format: LogFormat,
    pub servers: Servers,
    /// What the node's owner allows.
    pub policy: Arc<PolicyKeeper>,
    pub listen: Listen,
}

/// Where programs are attached for traffic control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// TCX where the kernel has it, clsact elsewhere.
    #[default]
    Auto,
    Tcx,
    Clsact,
}

/// Which line carries packets that have to wait, or to be looked at one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineChoice {
    /// The best that this host has.
    #[default]
    Auto,
    /// The kernel alone: what can wait only in a thread is refused.
    Kernel,
    /// A TAP device and a thread of the daemon.
    User,
    /// None: faults that need one are refused, chances are weighted at the hook.
    Never,
}

/// Whether XDP may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Xdp {
    /// Where the device runs native XDP at no cost to others, and the fault can be decided there. Not on
    /// veth: XDP there takes segmentation offload from the peer, and with it most of everybody's throughput.
    #[default]
    Auto,
    /// Wherever the device takes native XDP, veth included.
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Injects network faults on this host, for those who may talk to its socket.
#[derive(Clone, Debug, Default, Parser, Deserialize)]
#[command(name = "chaos-daemon", version, max_term_width = 100)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// YAML file with the long names of these flags as keys
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Unix socket of the API [default: /run/chaos-daemon/api.sock]
    #[arg(long, value_name = "PATH", env = "CHAOS_SOCKET")]
    socket: Option<PathBuf>,
    /// Where the halt, the journal and the lock are kept [default: /var/lib/chaos-daemon]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// What faults are allowed on this node, and who may do what; SIGHUP reads it again
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// How long faults outlive a daemon that hangs, 100ms to 1m [default: 2s]
    #[arg(long, value_name = "TIME")]
    lease: Option<Duration>,
    /// Listen on the network with mTLS, IP:PORT; http://127.0.0.1:PORT: for reading with a token
    #[arg(long, value_name = "ADDR")]
    #[serde(default)]
    listen: Vec<String>,
    /// Certificate that the daemon shows, PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Key of that certificate, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// CA whose certificates clients must have, PEM
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Bearer tokens that may read, one a line; mode 0600
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Ports that no fault touches, such as etcd=tcp/2379-2380; ssh and dhcp always are
    #[arg(long, value_name = "NAME=PROTO/PORTS")]
    #[serde(default)]
    guard: Vec<String>,
    /// Addresses that no fault touches, such as backup=10.9.0.0/16
    #[arg(long, value_name = "NAME=CIDR")]
    #[serde(default)]
    guard_cidr: Vec<String>,
    /// Which kind of attachment to use [default: auto]
    #[arg(long, value_enum)]
    attach: Option<Attach>,
    /// Use of XDP: auto, always (on veth, too) or never [default: auto]
    #[arg(long, value_enum)]
    xdp: Option<Xdp>,
    /// Line for packets that wait, or are looked at one by one [default: auto]
    #[arg(long, value_enum)]
    line: Option<LineChoice>,
    /// Active faults at most, 1 to 65536 [default: 16384]
    #[arg(long, value_name = "N")]
    max_faults: Option<usize>,
    /// Log filter: a level, or targets with levels [default: info]
    #[arg(long, value_name = "FILTER", env = "CHAOS_LOG")]
    log: Option<String>,
    /// How log lines look [default: text]
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
    /// Name server to ask for hosts in faults, IP or IP:PORT, may be repeated [default: /etc/resolv.conf]
    #[arg(long, value_name = "IP[:PORT]")]
    #[serde(default)]
    resolver: Vec<String>,
    /// File that names the name servers
    #[arg(long, value_name = "PATH", conflicts_with = "resolver")]
    resolv_conf: Option<PathBuf>,
}

/// Why the daemon cannot be started like this.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: cannot be read ({source}) – check --config")]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "{place}: {message} – `chaos-daemon --help` lists the settings; the file has their long names as keys"
    )]
    File { place: String, message: String },
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("--lease {0}: out of range – write 100ms to 1m")]
    Lease(Duration),
    #[error("--max-faults {0}: out of range – write 1 to 65536")]
    MaxFaults(usize),
    #[error(
        "--resolver {0}: no address of a name server – write an IP address or IP:PORT, such as 192.0.2.53 or [2001:db8::53]:5353"
    )]
    Resolver(String),
    #[error("--resolver and --resolv-conf both say whom to ask – keep one")]
    TwoResolvers,
    #[error("--guard: {0}")]
    Guard(#[from] GuardError),
    #[error("--log: {0}")]
    Log(#[from] LogError),
}

impl Config {
    /// From the command line, the environment and the file they name. Prints help and version, and usage errors, and
    /// then exits, as clap does.
    ///
    /// # Errors
    /// Anything that clap cannot know to be wrong.
    pub fn from_args() -> Result<Self, ConfigError> {
        Self::settle(Settings::parse())
    }

    fn settle(flags: Settings) -> Result<Self, ConfigError> {
        let settings = match &flags.config {
            Some(path) => flags.clone().over(read(path)?),
            None => flags,
        };
        let listen = Listen::settle(listen::Wanted {
            addresses: settings.listen,
            certificate: settings.tls_cert,
            key: settings.tls_key,
            client_ca: settings.tls_client_ca,
            tokens: settings.token_file,
        })?;
        let mut guards = GuardList::with(&settings.guard, &settings.guard_cidr)?;
        guards.protect_api(&listen.ports());
        let lease = settings.lease.unwrap_or(Duration::from_secs(2));
        if lease < Duration::from_millis(100) || lease > Duration::from_secs(60) {
            return Err(ConfigError::Lease(lease));
        }
        let max_faults = settings.max_faults.unwrap_or(16_384);
        if !(1..=65_536).contains(&max_faults) {
            return Err(ConfigError::MaxFaults(max_faults));
        }
        let servers = match (settings.resolver.as_slice(), settings.resolv_conf) {
            ([], None) => Servers::System,
            ([], Some(path)) => Servers::File(path),
            (_, Some(_)) => return Err(ConfigError::TwoResolvers),
            (addresses, None) => Servers::Addresses(
                addresses
                    .iter()
                    .map(|text| server(text))
                    .collect::<Result<_, _>>()?,
            ),
        };
        let log = settings.log.unwrap_or_else(|| "info".to_owned());
        log::filter(&log)?;
        Ok(Self {
            socket: settings
                .socket
                .unwrap_or_else(|| "/run/chaos-daemon/api.sock".into()),
            state_dir: settings
                .state_dir
                .unwrap_or_else(|| "/var/lib/chaos-daemon".into()),
            lease: lease.as_std(),
            guards,
            listen,
            attach: settings.attach.unwrap_or_default(),
            xdp: settings.xdp.unwrap_or_default(),
            line: settings.line.unwrap_or_default(),
            max_faults,
            log,
            log_format: settings.log_format.unwrap_or_default(),
            servers,
            policy: Arc::new(PolicyKeeper::load(settings.policy)?),
        })
    }

    /// How the data path is to be opened.
    pub fn datapath(&self) -> DatapathOptions {
        DatapathOptions {
            attach: match self.attach {
                Attach::Auto => datapath::Attach::Auto,
                Attach::Tcx => datapath::Attach::Tcx,
                Attach::Clsact => datapath::Attach::Clsact,
            },
            line: match self.line {
                LineChoice::Auto => datapath::LineUse::Auto,
                LineChoice::Kernel => datapath::LineUse::Kernel,
                LineChoice::User => datapath::LineUse::User,
                LineChoice::Never => datapath::LineUse::Never,
            },
            xdp: match self.xdp {
                Xdp::Auto => datapath::XdpUse::Auto,
                Xdp::Always => datapath::XdpUse::Always,
                Xdp::Never => datapath::XdpUse::Never,
            },
            max_faults: u32::try_from(self.max_faults).unwrap_or(u32::MAX),
            log: tracing::enabled!(tracing::Level::DEBUG),
        }
    }

    /// How the engine is set up.
    pub fn engine(&self) -> EngineOptions {
        EngineOptions {
            lease: self.lease,
            max_faults: self.max_faults,
            guards: self.guards.clone(),
            state_dir: self.state_dir.clone(),
            servers: self.servers.clone(),
            audit: Audit::default(),
            history: History::default(),
            policy: Arc::clone(&self.policy),
        }
    }

    /// The flags, for the manual page.
    pub fn command() -> clap::Command {
        Settings::command()
    }
}

impl Settings {
    /// These, and where they say nothing, `below`. Lists add up.
    fn over(self, below: Self) -> Self {
        let list = |mut above: Vec<String>, below: Vec<String>| {
            above.extend(below);
            above
        };
        // A resolver on the command line replaces the file's, in either form.
        let (resolver, resolv_conf) = match (self.resolver.is_empty(), self.resolv_conf) {
            (true, None) => (below.resolver, below.resolv_conf),
            (_, resolv_conf) => (self.resolver, resolv_conf),
        };
        Self {
            config: self.config,
            socket: self.socket.or(below.socket),
            state_dir: self.state_dir.or(below.state_dir),
            policy: self.policy.or(below.policy),
            lease: self.lease.or(below.lease),
            listen: list(self.listen, below.listen),
            tls_cert: self.tls_cert.or(below.tls_cert),
            tls_key: self.tls_key.or(below.tls_key),
            tls_client_ca: self.tls_client_ca.or(below.tls_client_ca),
            token_file: self.token_file.or(below.token_file),
            guard: list(self.guard, below.guard),
            guard_cidr: list(self.guard_cidr, below.guard_cidr),
            attach: self.attach.or(below.attach),
            xdp: self.xdp.or(below.xdp),
            line: self.line.or(below.line),
            max_faults: self.max_faults.or(below.max_faults),
            log: self.log.or(below.log),
            log_format: self.log_format.or(below.log_format),
            resolver,
            resolv_conf,
        }
    }
}

fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        return Ok(Settings::default());
    }
    serde_saphyr::from_str(&text).map_err(|error| {
        let error = error.without_snippet();
        let line = error
            .location()
            .and_then(|place| usize::try_from(place.line()).ok())
            .unwrap_or_default();
        let place = match error.location() {
            Some(place) => format!("{}:{}:{}", path.display(), place.line(), place.column()),
            None => path.display().to_string(),
        };
        // The place stands in front already; only the first line is about what is wrong.
        let message = error.to_string();
        let message = message.lines().next().unwrap_or_default();
        let mut message = message.split(" at line ").next().unwrap_or(message).to_owned();
        if let Some(written) = line.checked_sub(1).and_then(|line| text.lines().nth(line)) {
            message = format!("{message}, in `{}`", written.trim());
        }
        ConfigError::File { place, message }
    })
}

fn server(text: &str) -> Result<SocketAddr, ConfigError> {
    const DNS: u16 = 53;
    text.parse()
        .or_else(|_| {
            text.parse::<IpAddr>()
                .map(|address| SocketAddr::new(address, DNS))
        })
        .map_err(|_| ConfigError::Resolver(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(args: &[&str]) -> Result<Config, ConfigError> {
        let args = std::iter::once("chaos-daemon").chain(args.iter().copied());
        Config::settle(Settings::try_parse_from(args).unwrap())
    }

    fn with_file(text: &str, args: &[&str]) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap();
        settle(&[&["--config", path], args].concat())
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_defaults() {
        let text = "lease: 5s\nmax-faults: 7\nattach: clsact\nguard: [etcd=tcp/2379]\nlog-format: json\n";
        let config = with_file(text, &["--lease", "300ms", "--guard", "api=tcp/6443"]).unwrap();
        assert_eq!(config.lease, std::time::Duration::from_millis(300));
        assert_eq!(config.max_faults, 7);
        assert_eq!(config.attach, Attach::Clsact);
        assert_eq!(config.log_format, LogFormat::Json);
        assert_eq!(config.guards.entries.len(), 7);
        assert_eq!(config.xdp, Xdp::Auto);
    }

    #[test]
    fn an_empty_file_is_fine() {
        with_file("", &[]).unwrap();
        with_file("# nothing\n\n", &[]).unwrap();
    }

    #[test]
    fn a_wrong_file_is_refused_with_its_line() {
        for (text, line, word) in [
            ("lease: 5s\nleese: 3s\n", 2, "leese"),
            ("socket: /run/x.sock\n\nlease: 5\n", 3, "unit"),
            ("attach: ebtables\n", 1, "ebtables"),
            ("max-faults: many\n", 1, "many"),
            ("guard: [a\n", 1, "[a"),
        ] {
            let error = with_file(text, &[]).unwrap_err().to_string();
            assert!(error.contains(&format!(":{line}:")), "{text:?} gave {error}");
            assert!(error.contains(word), "{text:?} gave {error}");
        }
    }

    #[test]
    fn what_this_version_lacks_is_refused_by_name() {
        for (args, word) in [
            (["--policy", "/nonexistent/p.yaml"], "check --policy"),
            (["--listen", "0.0.0.0:7000"], "mTLS"),
            (["--lease", "1ms"], "100ms"),
            (["--max-faults", "0"], "65536"),
            (["--resolver", "dns.example.com"], "IP:PORT"),
            (["--guard", "x"], "NAME=tcp/PORT"),
            (["--log", "a=b=c"], "filter"),
        ] {
            let error = settle(&args).unwrap_err().to_string();
            assert!(error.contains(word), "{args:?} gave {error}");
        }
    }

    #[test]
    fn name_servers_have_a_default_port() {
        let config = settle(&["--resolver", "192.0.2.53", "--resolver", "[2001:db8::53]:5353"]).unwrap();
        let wanted = ["192.0.2.53:53", "[2001:db8::53]:5353"].map(|text| text.parse().unwrap());
        assert_eq!(config.servers, Servers::Addresses(wanted.to_vec()));
    }
}
