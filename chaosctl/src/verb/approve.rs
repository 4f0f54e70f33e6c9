use chaos_spec::api::{Approval, PlanApproval};
use clap::Args;

use super::submit::{faults_of, placed};
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::manifest::Sources;
use crate::output::{Format, Paint, plan_text, rendered};

/// As many letters of a hash tell it from others.
const SHORTEST: usize = 8;

/// Say yes, as the second person, to a plan that the policy finds too severe for one
///
/// The yes is for the plan as it resolves on the node now: what it does and what it hits. A plan that changes
/// needs a new one, and every yes expires. Without arguments: lists the plans that wait, and those approved.
///
/// Example:
///   chaosctl approve
///   chaosctl approve 3f2a91c07d55 --reason "game day, checked with the shop team"
///   chaosctl approve -f cut-orders.yaml
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Approve {
    /// Hash of the plan, or how it begins; as `plan` and a refused `apply` tell it.
    #[arg(value_name = "HASH", conflicts_with = "file")]
    plan: Option<String>,
    /// The faults themselves, which are planned and shown first; `-` reads stdin.
    #[arg(short, long, value_name = "FILE")]
    file: Vec<std::path::PathBuf>,
    /// Why, for the audit log.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

impl Approve {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let plan = match self.plan {
            Some(plan) => whole(session, &plan).await?,
            None if self.file.is_empty() => return list(session, self.output).await,
            None => {
                let located = Sources::of(self.file).read()?;
                let planned = session.daemon.plan(faults_of(&located)).await;
                let planned = planned.map_err(|failure| placed(failure, &located))?;
                session.out.progress(plan_text(&planned).trim_end());
                match planned.approval {
                    Some(PlanApproval {
                        plan, needed: true, ..
                    }) => plan,
                    _ => {
                        session.out.progress("this plan needs nobody's approval");
                        return Ok(Exit::DONE);
                    }
                }
            }
        };
        let approval = session.daemon.approve(plan, self.reason).await?;
        let text = match rendered(self.output, &approval)? {
            Some(text) => text,
            None => line(&approval),
        };
        session.out.data(&text)?;
        Ok(Exit::DONE)
    }
}

async fn list(session: &mut Session, format: Format) -> Result<Exit, Failure> {
    let approvals = session.daemon.approvals().await?;
    let text = match rendered(format, &approvals)? {
        Some(text) => text,
        None if approvals.items.is_empty() => {
            session.out.progress("no plan waits for an approval");
            return Ok(Exit::DONE);
        }
        None => approvals
            .items
            .iter()
            .map(|item| format!("{}\n", line(item)))
            .collect(),
    };
    session.out.data(&text)?;
    Ok(Exit::DONE)
}

/// The hash that begins like this.
async fn whole(session: &Session, begin: &str) -> Result<String, Failure> {
    const WHOLE: usize = 64;
    if begin.len() >= WHOLE {
        return Ok(begin.to_owned());
    }
    if begin.len() < SHORTEST {
        return Err(Failure::Usage(format!(
            "`{begin}` is too short for a hash – write at least {SHORTEST} letters of it, or use -f FILE"
        )));
    }
    let known = session.daemon.approvals().await?.items;
    let mut fitting = known.iter().filter(|item| item.plan.starts_with(begin));
    match (fitting.next(), fitting.next()) {
        (Some(item), None) => Ok(item.plan.clone()),
        (None, _) => Err(Failure::Usage(format!(
            "no plan whose hash begins with `{begin}` waits here – `chaosctl approve` lists those that do"
        ))),
        _ => Err(Failure::Usage(format!(
            "`{begin}` begins several hashes – write more of it"
        ))),
    }
}

/// `3f2a… high approved by alice until 2026-…: cut: all packets …`
fn line(approval: &Approval) -> String {
    let paint = Paint::stdout();
    let state = match (&approval.approved_by, approval.expires_at) {
        (Some(by), Some(until)) => paint.good(&format!("approved by {by} until {until}")),
        _ if approval.requested_by.is_empty() => "waits".to_owned(),
        _ => format!("asked for by {}", approval.requested_by.join(", ")),
    };
    let what = approval.faults.join("; ");
    format!("{} {} {state} – {what}", approval.plan, approval.severity)
}
