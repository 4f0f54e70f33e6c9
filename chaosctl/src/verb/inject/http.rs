//! `inject http`: what becomes of requests.

use chaos_spec::{Chance, Duration, Fault, HostPattern, Http, HttpHeaders, Method, PathPattern};
use clap::Args;

use super::Common;
use crate::failure::Failure;

/// Answer HTTP requests in the kernel, cut them off or delay them
///
/// Plain-text HTTP/1.1 only: TLS and HTTP/2 pass, and are counted as unseen. Name the ports that speak it.
/// Requests that got their answer here are counted as answered.
///
/// Example:
///   chaosctl inject http 503 --chance 40% --path '/pay/*' --netns blue --remote-port 8080 --for 60s
///   chaosctl inject http 429 --body 'later' --header 'Retry-After: 5' --netns blue --for 60s
///   chaosctl inject http --abort --method POST --http-host pay.example.com --netns blue --for 60s
///   chaosctl inject http --delay 300ms --direction ingress --local-port 80 --netns blue --for 60s
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct HttpWord {
    /// Answer with this status, such as 503; the server never sees the request.
    #[arg(value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..=599))]
    status: Option<u16>,
    /// Reset the connection instead of an answer.
    #[arg(long, conflicts_with_all = ["status", "delay"])]
    abort: bool,
    /// Let the request go on so much later instead.
    #[arg(long, value_name = "TIME", conflicts_with = "status")]
    delay: Option<Duration>,
    /// The share of the requests that --method, --path and --http-host choose.
    #[arg(long, value_name = "CHANCE", default_value = "100%")]
    chance: Chance,
    /// Only requests with this method, such as GET; may be given again.
    #[arg(long, value_name = "METHOD", value_delimiter = ',')]
    method: Vec<Method>,
    /// Only requests for this path, without its query; `*` stands for any characters, such as '/pay/*'.
    #[arg(long, value_name = "GLOB")]
    path: Option<PathPattern>,
    /// Only requests with this name in their Host header; '*.example.com' for all names below one.
    #[arg(long, value_name = "HOST")]
    http_host: Option<HostPattern>,
    /// What the answer says.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["abort", "delay"])]
    body: Option<String>,
    /// A header of the answer; may be given again.
    #[arg(long, value_name = "'NAME: VALUE'", value_parser = header, conflicts_with_all = ["abort", "delay"])]
    header: Vec<(String, String)>,
    #[command(flatten)]
    common: Common,
}

impl HttpWord {
    pub(super) fn into_parts(self) -> Result<(Fault, Common), Failure> {
        if self.status.is_none() && !self.abort && self.delay.is_none() {
            return Err(Failure::Usage(
                "what becomes of the requests is missing – write `inject http 503`, or --abort, or --delay 300ms".to_owned(),
            ));
        }
        let http = Http {
            status: self.status,
            body: self.body,
            headers: HttpHeaders(self.header),
            abort: self.abort.then_some(true),
            delay: self.delay,
            chance: self.chance,
            method: self.method,
            path: self.path,
            host: self.http_host,
        };
        let fault = Fault {
            http: Some(http),
            ..Fault::default()
        };
        Ok((fault, self.common))
    }
}

/// As on the wire; a value has no blanks at its ends.
fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) => Ok((name.to_owned(), value.trim().to_owned())),
        None => Err(format!(
            "`{text}` has no `:` – write for example 'Retry-After: 5'"
        )),
    }
}
