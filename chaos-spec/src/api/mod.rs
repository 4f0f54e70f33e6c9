//! What goes over the wire, in JSON. Answers are read leniently, all but the spec inside them: an unknown field is
//! ignored, so that an older `chaosctl` talks to a newer daemon. What people send is as strict as a file.

mod approval;
mod event;
mod experiment;
mod fault;
mod health;
mod history;
mod node;
mod plan;
mod problem;
mod schedule;

pub use approval::{Approval, ApprovalList, ApprovalRequest};
pub use event::{Event, EventKind};
pub use experiment::{
    AbortRun, ExperimentList, ExperimentPhase, ExperimentStatus, ExperimentView, FaultRun, Outcome, PhaseAt,
    Point, ProbeRun, RecoveryRun, Seen, StepRun,
};
pub use fault::{
    Attachment, FaultList, FaultView, Hook, Line, Mode, Packets, Phase, Reason, Status, Submission,
};
pub use health::{HealthSample, HealthState, HealthStatus};
pub use history::{History, Run, RunPhase, Transition};
pub use node::{Capability, Counts, Guard, HaltRequest, HaltState, NodeInfo};
pub use plan::{HostChange, Plan, PlanApproval, PlannedFault, PlannedRule, ResolvedTarget};
pub use problem::{PROBLEM_CONTENT_TYPE, Problem, ProblemError};
pub use schedule::{ScheduleList, ScheduleStatus, ScheduleView};
