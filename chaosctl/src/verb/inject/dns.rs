//! `inject dns`: what becomes of look-ups.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use chaos_spec::{Chance, Dns, DnsAnswer, DnsName, DnsRecords, DnsTcp, DnsType, Duration, Fault};
use clap::{ArgGroup, Args};

use super::Common;
use super::amount::words;
use crate::failure::Failure;

/// Answer DNS look-ups in the kernel, or delay them
///
/// Those over UDP, to port 53 unless ports are named. Look-ups that got their answer here are counted as answered.
///
/// Example:
///   chaosctl inject dns nxdomain --names '*.example.com' --types A,AAAA --netns blue --for 60s
///   chaosctl inject dns servfail --chance 50% --tcp reset --netns blue --for 60s
///   chaosctl inject dns --a 192.0.2.1 --aaaa 2001:db8::1 --ttl 5s --pid 4242 --for 60s
///   chaosctl inject dns --delay 2s --cgroup /system.slice/orders.service --for 60s
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, group = ArgGroup::new("records").args(["a", "aaaa"]).multiple(true))]
pub(super) struct DnsWord {
    /// What the answer is; timeout: none comes.
    #[arg(value_name = "ANSWER")]
    #[arg(value_parser = words::<DnsAnswer>(&["nxdomain", "servfail", "refused", "timeout"]))]
    answer: Option<DnsAnswer>,
    /// Answer with this IPv4 address instead; may be given again.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', value_parser = address::<Ipv4Addr>)]
    #[arg(conflicts_with = "answer")]
    a: Vec<Ipv4Addr>,
    /// Answer with this IPv6 address instead; may be given again.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', value_parser = address::<Ipv6Addr>)]
    #[arg(conflicts_with = "answer")]
    aaaa: Vec<Ipv6Addr>,
    /// How long the addresses may be kept, in whole seconds.
    #[arg(long, value_name = "TIME", default_value = "5s", requires = "records")]
    ttl: Duration,
    /// Let the look-up go on so much later instead.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["answer", "records"])]
    delay: Option<Duration>,
    /// Only look-ups of this name; '*.example.com' for all names below one; may be given again.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    names: Vec<DnsName>,
    /// Only look-ups of this type, such as AAAA or TYPE65; may be given again.
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    types: Vec<DnsType>,
    /// The share of the look-ups that --names and --types choose.
    #[arg(long, value_name = "CHANCE", default_value = "100%")]
    chance: Chance,
    /// What becomes of look-ups over TCP, whatever they ask for.
    #[arg(long, value_name = "WORD", default_value = "pass")]
    #[arg(value_parser = words::<DnsTcp>(&["pass", "reset"]))]
    tcp: DnsTcp,
    #[command(flatten)]
    common: Common,
}

impl DnsWord {
    pub(super) fn into_parts(self) -> Result<(Fault, Common), Failure> {
        let records = (!self.a.is_empty() || !self.aaaa.is_empty()).then_some(DnsRecords {
            a: self.a,
            aaaa: self.aaaa,
            ttl: self.ttl,
        });
        let answer = self.answer.or(records.map(DnsAnswer::Records));
        if answer.is_none() && self.delay.is_none() {
            return Err(Failure::Usage(
                "what becomes of the look-ups is missing – write `inject dns nxdomain`, or --a ADDRESS, or --delay 2s".to_owned(),
            ));
        }
        let dns = Dns {
            answer,
            delay: self.delay,
            names: self.names,
            types: self.types,
            chance: self.chance,
            tcp: self.tcp,
        };
        let fault = Fault {
            dns: Some(dns),
            ..Fault::default()
        };
        Ok((fault, self.common))
    }
}

/// The standard library does not say what to write.
fn address<T: Address>(text: &str) -> Result<T, String> {
    let address = text.trim().parse();
    address.map_err(|_| {
        format!(
            "it is no {} address – write for example {}",
            T::FAMILY,
            T::EXAMPLE
        )
    })
}

trait Address: FromStr {
    const FAMILY: &'static str;
    const EXAMPLE: &'static str;
}

impl Address for Ipv4Addr {
    const FAMILY: &'static str = "IPv4";
    const EXAMPLE: &'static str = "192.0.2.7";
}

impl Address for Ipv6Addr {
    const FAMILY: &'static str = "IPv6";
    const EXAMPLE: &'static str = "2001:db8::7";
}
