use std::path::{Path, PathBuf};
use std::time::Duration;

use chaos_spec::audit::{self, Finding, Head, Verdict, Verifier};
use clap::Args;
use serde_json::json;

use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Paint, rendered};

/// Where a daemon keeps its log unless it was told otherwise.
const USUAL: &str = "/var/lib/chaos-daemon/audit";
/// A daemon that is just writing looks like a torn line: looked at again, it does not.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Find out whether the audit log was edited, cut or reordered, and at which line
///
/// Reads the file and the full ones beside it, in order, and `audit.head` in the directory above, which knows
/// the newest record. Exit code 0: the log is whole. 1: it is not.
///
/// Example:
///   sudo chaosctl audit verify
///   chaosctl audit verify /backup/audit/audit.jsonl --head /backup/audit.head
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Verify {
    /// The log, or the directory it is in; by default that of this host's daemon.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The file that knows the newest record.
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// Only this one file, of which neither the beginning nor the end of the log is known.
    #[arg(long, requires = "file", conflicts_with = "head")]
    part: bool,
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

impl Verify {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => match session.daemon.node().await {
                Ok(node) => node.audit_log.map_or_else(|| USUAL.into(), PathBuf::from),
                // The log is there without its daemon as well.
                Err(_) => USUAL.into(),
            },
        };
        let mut verdict = self.look(&file)?;
        for _ in 1..LOOKS {
            if verdict.findings.is_empty() {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            verdict = self.look(&file)?;
        }
        let text = match rendered(self.output, &as_data(&verdict))? {
            Some(text) => text,
            None => for_people(&verdict, &file),
        };
        session.out.data(&text)?;
        Ok(if verdict.findings.is_empty() {
            Exit::DONE
        } else {
            Exit::INTERNAL
        })
    }

    fn look(&self, path: &Path) -> Result<Verdict, Failure> {
        if self.part {
            let mut verifier = Verifier::part();
            verifier.file(&path.display().to_string(), &read(path)?);
            return Ok(verifier.end());
        }
        let dir = directory(path);
        // Before the files: they may grow meanwhile, and may have more than the head knows.
        let head_file = self
            .head
            .clone()
            .unwrap_or_else(|| dir.parent().unwrap_or(&dir).join(audit::HEAD_FILE));
        let (head, doubt) = match std::fs::read(&head_file) {
            Ok(text) => match serde_json::from_slice::<Head>(&text) {
                Ok(head) => (Some(head), None),
                Err(_) => (None, Some("cannot be read")),
            },
            Err(_) => (None, Some("is missing")),
        };
        let mut verifier = Verifier::whole().up_to(head);
        for file in files(&dir, path)? {
            let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
            verifier.file(&name, &read(&file)?);
        }
        let mut verdict = verifier.end();
        verdict.findings.extend(doubt.map(|doubt| Finding {
            file: head_file.display().to_string(),
            line: 1,
            what: format!("{doubt}: whether records were cut off the end of the log cannot be told"),
        }));
        Ok(verdict)
    }
}

/// The directory of the log: what was named, or what is in it, or where it is in.
fn directory(path: &Path) -> PathBuf {
    if !path.is_dir() {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        return parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
    }
    let below = path.join(audit::DIRECTORY);
    let dir = if below.is_dir() { below } else { path.to_owned() };
    dir.canonicalize().unwrap_or(dir)
}

/// The files of a log in the order of their records.
fn files(dir: &Path, named: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |source| Failure::Read {
        from: dir.display().to_string(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let text = name.to_string_lossy();
        if text.starts_with("audit-") && text.ends_with(".jsonl") {
            files.push(dir.join(&name));
        }
    }
    files.sort();
    let newest = dir.join(audit::FILE);
    if newest.exists() {
        files.push(newest);
    } else if named.is_file() && !files.iter().any(|file| file.file_name() == named.file_name()) {
        files.push(named.to_owned());
    }
    if files.is_empty() {
        return Err(Failure::Usage(format!(
            "there is no audit log in {} – name its file, or the daemon's state directory",
            dir.display()
        )));
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|source| Failure::Read {
        from: path.display().to_string(),
        source,
    })
}

fn as_data(verdict: &Verdict) -> serde_json::Value {
    let findings: Vec<_> = verdict
        .findings
        .iter()
        .map(|finding| json!({"file": finding.file, "line": finding.line, "what": finding.what}))
        .collect();
    json!({
        "whole": verdict.findings.is_empty(),
        "records": verdict.records,
        "first": verdict.first,
        "newest": verdict.head,
        "findings": findings,
    })
}

fn for_people(verdict: &Verdict, path: &Path) -> String {
    let paint = Paint::stdout();
    let records = verdict.records;
    if verdict.findings.is_empty() {
        let newest = verdict
            .head
            .as_ref()
            .map(|head| format!(", the newest is record {} {}", head.seq, head.hash))
            .unwrap_or_default();
        return format!(
            "{}: {records} records in {}{newest}",
            paint.good("whole"),
            path.display()
        );
    }
    let mut text: String = verdict
        .findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect();
    text.push_str(&format!(
        "{}: {} findings in {records} records",
        paint.error("not whole"),
        verdict.findings.len()
    ));
    text
}
