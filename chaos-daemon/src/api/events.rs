//! `GET /v1/events`: server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as Line, KeepAlive, Sse};
use chaos_spec::api::{Event, EventKind};
use futures_util::Stream;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use super::Api;
use super::problem::Refusal;

/// A comment is sent this often, so that a dead connection is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

struct Reader {
    missed: std::vec::IntoIter<Event>,
    live: broadcast::Receiver<Event>,
    over: bool,
    _seat: OwnedSemaphorePermit,
}

pub(super) async fn events(
    State(api): State<Api>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Line, Infallible>>>, Refusal> {
    let last = match headers
        .get("last-event-id")
        .map(|value| value.to_str().unwrap_or("?").trim())
    {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                format!("Last-Event-ID `{text}` is no number – send the last `id` you got"),
            )
        })?),
    };
    let seat = Arc::clone(&api.readers).try_acquire_owned().map_err(|_| {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many readers of events – close one, or read /v1/faults instead",
        )
    })?;
    let (missed, live) = api.engine.subscribe(last);
    let reader = Reader {
        missed: missed.into_iter(),
        live,
        over: false,
        _seat: seat,
    };
    let lines = stream::unfold(reader, |mut reader| async {
        if let Some(event) = reader.missed.next() {
            return Some((Ok(line(&event)), reader));
        }
        if reader.over {
            return None;
        }
        match reader.live.recv().await {
            Ok(event) => {
                reader.over = event.kind == EventKind::DaemonStopping;
                Some((Ok(line(&event)), reader))
            }
            Err(broadcast::error::RecvError::Lagged(count)) => {
                let text = format!("{count} events were missed: this reader was too slow");
                Some((Ok(Line::default().comment(text)), reader))
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    });
    Ok(Sse::new(lines).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn line(event: &Event) -> Line {
    // Serde writes a unit variant as its name.
    let kind = serde_json::to_value(event.kind).ok();
    let kind = kind
        .as_ref()
        .and_then(|kind| kind.as_str())
        .unwrap_or("Unknown")
        .to_owned();
    // One line of JSON: no line break can tear it.
    let data = serde_json::to_string(event).unwrap_or_default();
    Line::default().id(event.seq.to_string()).event(kind).data(data)
}
