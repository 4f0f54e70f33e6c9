use chaos_spec::NetworkFault;
use chaos_spec::api::{
    Approval, ApprovalList, ApprovalRequest, ExperimentList, ExperimentView, FaultList, FaultView,
    HaltRequest, HaltState, History, NodeInfo, Plan, ScheduleList, ScheduleView, Submission,
};
use chaos_spec::experiment::RunSubmission;
use chaos_spec::schedule::ScheduleSubmission;
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::Answer;
use super::{Client, ClientError, Refusal};
use crate::failure::Failure;

/// The daemon's API, one method a call.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    client: Client,
}

impl Daemon {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn node(&self) -> Result<NodeInfo, Failure> {
        self.get("/v1/node").await
    }

    pub(crate) async fn faults(&self) -> Result<FaultList, Failure> {
        self.get("/v1/faults").await
    }

    /// `None` when the daemon knows no fault of this name.
    pub(crate) async fn fault(&self, name: &str) -> Result<Option<FaultView>, Failure> {
        found(self.get(&fault_path(name)).await)
    }

    /// Plans that need a second person.
    pub(crate) async fn approvals(&self) -> Result<ApprovalList, Failure> {
        self.get("/v1/approvals").await
    }

    /// Says yes to a plan by its hash.
    pub(crate) async fn approve(&self, plan: String, reason: Option<String>) -> Result<Approval, Failure> {
        self.post("/v1/approvals", &ApprovalRequest { plan, reason })
            .await
    }

    /// What ran, the newest first.
    pub(crate) async fn history(
        &self,
        name: Option<&str>,
        since: Option<Timestamp>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<History, Failure> {
        let mut path = format!("/v1/history?limit={limit}");
        if let Some(name) = name {
            path = format!("{path}&name={}", escaped(name));
        }
        if let Some(since) = since {
            path = format!("{path}&since={since}");
        }
        if let Some(before) = before {
            path = format!("{path}&before={before}");
        }
        self.get(&path).await
    }

    /// What the faults would do, without doing it.
    pub(crate) async fn plan(&self, faults: Vec<NetworkFault>) -> Result<Plan, Failure> {
        self.post("/v1/plan", &Submission { items: faults }).await
    }

    /// All of them or none. Answers with their new state.
    pub(crate) async fn submit(&self, faults: Vec<NetworkFault>) -> Result<FaultList, Failure> {
        self.post("/v1/faults", &Submission { items: faults }).await
    }

    /// Ends a fault. Its last state, as far as the daemon tells it; `None` when there is no such fault.
    pub(crate) async fn delete(&self, name: &str) -> Result<Option<Deleted>, Failure> {
        let path = fault_path(name);
        let answer = found(self.send(Method::DELETE, &path, None).await)?;
        Ok(answer.map(|answer| Deleted {
            view: serde_json::from_slice(&answer.body).ok(),
        }))
    }

    /// Begins an experiment.
    pub(crate) async fn start_experiment(&self, run: &RunSubmission) -> Result<ExperimentView, Failure> {
        self.post("/v1/experiments", run).await
    }

    pub(crate) async fn experiments(&self) -> Result<ExperimentList, Failure> {
        self.get("/v1/experiments").await
    }

    /// By id, or the newest of a name; `None` when the daemon knows none.
    pub(crate) async fn experiment(&self, id: &str) -> Result<Option<ExperimentView>, Failure> {
        found(self.get(&experiment_path(id)).await)
    }

    /// The same with the last of its samples alone.
    pub(crate) async fn glance(&self, id: &str) -> Result<Option<ExperimentView>, Failure> {
        found(self.get(&format!("{}?series=false", experiment_path(id))).await)
    }

    /// Orders one to stop; as it is now.
    pub(crate) async fn stop_experiment(&self, id: &str) -> Result<Option<ExperimentView>, Failure> {
        let path = experiment_path(id);
        let answer = found(self.send(Method::DELETE, &path, None).await)?;
        answer
            .map(|answer| understood(&answer, &Method::DELETE, &path))
            .transpose()
    }

    /// Keeps a schedule.
    pub(crate) async fn add_schedule(
        &self,
        submission: &ScheduleSubmission,
    ) -> Result<ScheduleView, Failure> {
        self.post("/v1/schedules", submission).await
    }

    pub(crate) async fn schedules(&self) -> Result<ScheduleList, Failure> {
        self.get("/v1/schedules").await
    }

    /// Forgets one; as it was. `None` when there is none.
    pub(crate) async fn remove_schedule(&self, name: &str) -> Result<Option<ScheduleView>, Failure> {
        let path = format!("/v1/schedules/{}", escaped(name));
        let answer = found(self.send(Method::DELETE, &path, None).await)?;
        answer
            .map(|answer| understood(&answer, &Method::DELETE, &path))
            .transpose()
    }

    pub(crate) async fn halt(&self, reason: Option<String>) -> Result<HaltState, Failure> {
        let body = json(&HaltRequest { reason })?;
        let answer = self.send(Method::POST, "/v1/halt", Some(body)).await?;
        self.halt_state(answer).await
    }

    pub(crate) async fn release(&self) -> Result<HaltState, Failure> {
        let answer = self.send(Method::DELETE, "/v1/halt", None).await?;
        self.halt_state(answer).await
    }

    /// The state in the answer, or asked for when the answer has none.
    async fn halt_state(&self, answer: Answer) -> Result<HaltState, Failure> {
        match serde_json::from_slice(&answer.body) {
            Ok(state) => Ok(state),
            Err(_) => self.get("/v1/halt").await,
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.send(Method::GET, path, None).await?;
        understood(&answer, &Method::GET, path)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let answer = self.send(Method::POST, path, Some(json(body)?)).await?;
        understood(&answer, &Method::POST, path)
    }

    /// An answer with a success status, or why not.
    async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Answer, Failure> {
        let answer = self.client.send(method, path, body).await?;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(Refusal::from_answer(answer.status, &answer.body).into())
        }
    }
}

/// The daemon has taken note that a fault is to end.
#[derive(Debug)]
pub(crate) struct Deleted {
    pub(crate) view: Option<FaultView>,
}

fn understood<T: DeserializeOwned>(answer: &Answer, method: &Method, path: &str) -> Result<T, Failure> {
    let request = || format!("{method} {path}");
    serde_json::from_slice(&answer.body).map_err(|source| {
        ClientError::NotUnderstood {
            request: request(),
            source,
        }
        .into()
    })
}

fn found<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Failure::Refused(refusal)) if refusal.status() == StatusCode::NOT_FOUND.as_u16() => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(Failure::Render)
}

/// Whatever was typed as a name stays one step of the path.
fn fault_path(name: &str) -> String {
    format!("/v1/faults/{}", escaped(name))
}

fn experiment_path(id: &str) -> String {
    format!("/v1/experiments/{}", escaped(id))
}

fn escaped(name: &str) -> String {
    let mut path = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_step_of_the_path() {
        assert_eq!(fault_path("drop-3f2a"), "/v1/faults/drop-3f2a");
        assert_eq!(fault_path("../halt?x"), "/v1/faults/%2E%2E%2Fhalt%3Fx");
    }
}
