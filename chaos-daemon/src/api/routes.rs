//! The one table of routes: the router and the OpenAPI document are both made from it.

use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use chaos_spec::NetworkFault;
use chaos_spec::api::{
    Approval, ApprovalList, ApprovalRequest, Event, ExperimentList, ExperimentView, FaultList, FaultView,
    HaltRequest, HaltState, History, NodeInfo, Plan, ScheduleList, ScheduleView, Submission,
};
use chaos_spec::experiment::RunSubmission;
use chaos_spec::policy::Role;
use chaos_spec::schedule::ScheduleSubmission;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::authorize::Needs;
use super::{Api, approvals, events, experiments, faults, history, metrics, node, openapi, schedules};

pub(super) const PLAN: &str = "/v1/plan";
pub(super) const HALT: &str = "/v1/halt";

/// One method of one path.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// Also its `operationId`.
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    /// Name and JSON type of each parameter.
    pub(super) query: &'static [(&'static str, &'static str)],
    /// Schemas of which the body fits one; none: no body.
    pub(super) takes: Vec<SchemaOf>,
    pub(super) gives: Gives,
    pub(super) needs: Needs,
    pub(super) handler: MethodRouter<Api>,
}

/// Adds a type to the generator and refers to it.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a success answers with.
pub(super) enum Gives {
    Json(SchemaOf),
    /// Server-sent events whose data is this, as JSON.
    Events(SchemaOf),
    Text,
    /// JSON without a schema of ours.
    AnyJson,
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Route {
    fn new(
        method: Method,
        path: &'static str,
        name: &'static str,
        gives: Gives,
        handler: MethodRouter<Api>,
    ) -> Self {
        Self {
            method,
            path,
            name,
            summary: "",
            query: &[],
            takes: Vec::new(),
            gives,
            needs: Some(Role::Viewer),
            handler,
        }
    }

    /// Who may ask for it, instead of a viewer.
    fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    fn about(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    fn takes<T: JsonSchema>(mut self) -> Self {
        self.takes.push(schema::<T>);
        self
    }
}

/// Every route there is. One that does not say whom it is for is for viewers: they look, and they halt.
pub(super) fn routes() -> Vec<Route> {
    const GET: Method = Method::GET;
    let json = Gives::Json;
    vec![
        Route::new(
            GET,
            "/v1/node",
            "getNode",
            json(schema::<NodeInfo>),
            on(MethodFilter::GET, node::node),
        )
        .about("The daemon, its host and what it can do."),
        Route::new(
            GET,
            "/v1/faults",
            "listFaults",
            json(schema::<FaultList>),
            on(MethodFilter::GET, faults::list),
        )
        .about("Active faults, and the last 1000 that ended."),
        Route {
            query: &[("dryRun", "boolean")],
            ..Route::new(
                Method::POST,
                "/v1/faults",
                "applyFaults",
                json(schema::<FaultList>),
                on(MethodFilter::POST, faults::apply),
            )
        }
        .needs(Some(Role::Operator))
        .about("Makes these faults so, all or none; with dryRun=true answers with the plan instead.")
        .takes::<NetworkFault>()
        .takes::<Submission>(),
        Route::new(
            GET,
            "/v1/faults/{name}",
            "getFault",
            json(schema::<FaultView>),
            on(MethodFilter::GET, faults::get),
        )
        .about("One fault with its counters."),
        Route::new(
            Method::PUT,
            "/v1/faults/{name}",
            "applyFault",
            json(schema::<FaultView>),
            on(MethodFilter::PUT, faults::put),
        )
        .needs(Some(Role::Operator))
        .about("Makes this fault so.")
        .takes::<NetworkFault>(),
        Route::new(
            Method::DELETE,
            "/v1/faults/{name}",
            "deleteFault",
            json(schema::<FaultView>),
            on(MethodFilter::DELETE, faults::delete),
        )
        .needs(Some(Role::Operator))
        .about("Ends a fault and answers with its last state."),
        Route::new(
            Method::POST,
            PLAN,
            "plan",
            json(schema::<Plan>),
            on(MethodFilter::POST, faults::plan),
        )
        .about("What applying these faults would do.")
        .takes::<NetworkFault>()
        .takes::<Submission>(),
        Route::new(
            GET,
            HALT,
            "getHalt",
            json(schema::<HaltState>),
            on(MethodFilter::GET, node::halt_state),
        )
        .about("Whether new faults are refused."),
        Route::new(
            Method::POST,
            HALT,
            "halt",
            json(schema::<HaltState>),
            on(MethodFilter::POST, node::halt),
        )
        .about("Ends every fault at once and refuses new ones until released.")
        .takes::<HaltRequest>(),
        Route::new(
            Method::DELETE,
            HALT,
            "release",
            json(schema::<HaltState>),
            on(MethodFilter::DELETE, node::release),
        )
        .needs(Some(Role::Admin))
        .about("Lets new faults in again."),
        Route::new(
            GET,
            "/v1/events",
            "events",
            Gives::Events(schema::<Event>),
            on(MethodFilter::GET, events::events),
        )
        .about("What happens, as server-sent events; Last-Event-ID brings back what was missed."),
        Route {
            query: &[
                ("name", "string"),
                ("since", "string"),
                ("until", "string"),
                ("before", "integer"),
                ("limit", "integer"),
            ],
            ..Route::new(
                GET,
                "/v1/history",
                "history",
                json(schema::<History>),
                on(MethodFilter::GET, history::history),
            )
        }
        .about("What ran on this node, the newest first, also before a restart."),
        Route::new(
            GET,
            "/v1/experiments",
            "listExperiments",
            json(schema::<ExperimentList>),
            on(MethodFilter::GET, experiments::list),
        )
        .about("Experiments, the newest first, each with the last sample of its probes."),
        Route::new(
            Method::POST,
            "/v1/experiments",
            "startExperiment",
            json(schema::<ExperimentView>),
            on(MethodFilter::POST, experiments::start),
        )
        .needs(Some(Role::Operator))
        .about("Begins an experiment; the answer has its id.")
        .takes::<RunSubmission>(),
        Route {
            query: &[("series", "boolean")],
            ..Route::new(
                GET,
                "/v1/experiments/{id}",
                "getExperiment",
                json(schema::<ExperimentView>),
                on(MethodFilter::GET, experiments::get),
            )
        }
        .about("One experiment by its id, or the newest of a name, with all that it has seen so far."),
        Route::new(
            Method::DELETE,
            "/v1/experiments/{id}",
            "stopExperiment",
            json(schema::<ExperimentView>),
            on(MethodFilter::DELETE, experiments::stop),
        )
        .needs(Some(Role::Operator))
        .about("Orders an experiment to stop and to undo everything; its report stays."),
        Route::new(
            GET,
            "/v1/schedules",
            "listSchedules",
            json(schema::<ScheduleList>),
            on(MethodFilter::GET, schedules::list),
        )
        .about("Experiments that begin by themselves, by name."),
        Route::new(
            Method::POST,
            "/v1/schedules",
            "addSchedule",
            json(schema::<ScheduleView>),
            on(MethodFilter::POST, schedules::add),
        )
        .needs(Some(Role::Operator))
        .about("Keeps a schedule, in place of one of the same name.")
        .takes::<ScheduleSubmission>(),
        Route::new(
            GET,
            "/v1/schedules/{name}",
            "getSchedule",
            json(schema::<ScheduleView>),
            on(MethodFilter::GET, schedules::get),
        )
        .about("One schedule, and how it goes."),
        Route::new(
            Method::DELETE,
            "/v1/schedules/{name}",
            "removeSchedule",
            json(schema::<ScheduleView>),
            on(MethodFilter::DELETE, schedules::remove),
        )
        .needs(Some(Role::Operator))
        .about("Forgets a schedule; what it began goes on."),
        Route::new(
            GET,
            "/v1/approvals",
            "listApprovals",
            json(schema::<ApprovalList>),
            on(MethodFilter::GET, approvals::list),
        )
        .about("Plans that need a second person, and those that have one."),
        Route::new(
            Method::POST,
            "/v1/approvals",
            "approve",
            json(schema::<Approval>),
            on(MethodFilter::POST, approvals::approve),
        )
        .needs(Some(Role::Approver))
        .about("Says yes to a plan that somebody else wants to carry out.")
        .takes::<ApprovalRequest>(),
        Route::new(
            GET,
            "/metrics",
            "metrics",
            Gives::Text,
            on(MethodFilter::GET, metrics),
        )
        .about("Prometheus metrics."),
        Route::new(
            GET,
            "/livez",
            "live",
            Gives::Text,
            on(MethodFilter::GET, node::live),
        )
        .needs(None)
        .about("The daemon answers."),
        Route::new(
            GET,
            "/readyz",
            "ready",
            Gives::Text,
            on(MethodFilter::GET, node::ready),
        )
        .needs(None)
        .about("The engine ticks and the lease is fresh."),
        Route::new(
            GET,
            "/openapi.json",
            "openapi",
            Gives::AnyJson,
            on(MethodFilter::GET, openapi::document),
        )
        .about("This document."),
    ]
}
