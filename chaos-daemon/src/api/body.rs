//! Request bodies: bounded in size and time, and read to the end before anything is believed.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use chaos_spec::api::ProblemError;
use chaos_spec::experiment::{RunSubmission, parse_run_body};
use chaos_spec::schedule::{ScheduleSubmission, parse_schedule_body};
use chaos_spec::{Diagnostics, MAX_TEXT_BYTES, NetworkFault};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::problem::Refusal;

/// Largest body that is read.
pub(super) const MOST: usize = MAX_TEXT_BYTES;
/// How long a client may take to send its body.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How much of a body that is too large is taken off the line, so that clients that send first and read later get
/// to see the refusal.
const MOST_DISCARDED: usize = 128 << 20;

/// Bodies that are read at the same time: what they cost together is bounded, however many callers there are.
pub(super) const TURNS: usize = 2;

/// Bytes of a body that takes no more than a millisecond.
const SMALL: usize = 8 << 10;

/// What a client sent to be applied or planned.
#[derive(Debug)]
pub(super) struct Submitted {
    pub(super) faults: Vec<NetworkFault>,
    /// One `NetworkFault` rather than a list.
    pub(super) single: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
}

/// Takes the whole body.
///
/// # Errors
/// Too large (413), too slow (408), or cut short (400).
pub(super) async fn take(request: Request) -> Result<(HeaderMap, Bytes), Refusal> {
    let (parts, body) = request.into_parts();
    let announced = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    let is_too_large = announced.is_some_and(|length| length > MOST as u64);
    if is_too_large && parts.headers.contains_key(header::EXPECT) {
        // The client asks before it sends: it need not.
        return Err(too_large());
    }
    match timeout(PATIENCE, collect(body, is_too_large)).await {
        Ok(collected) => Ok((parts.headers, collected?)),
        Err(_) if is_too_large => Err(too_large()),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!(
                "the body was not complete after {} s; nothing has been changed",
                PATIENCE.as_secs()
            ),
        )),
    }
}

async fn collect(mut body: Body, mut discard: bool) -> Result<Bytes, Refusal> {
    let mut taken = BytesMut::new();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let detail =
                format!("the body was cut short after {total} bytes ({error}); nothing has been changed");
            if discard {
                too_large()
            } else {
                Refusal::new(StatusCode::BAD_REQUEST, detail)
            }
        })?;
        let Ok(data) = frame.into_data() else { continue };
        total += data.len();
        if total > MOST {
            discard = true;
            taken = BytesMut::new();
        }
        if total > MOST_DISCARDED {
            break;
        }
        if !discard {
            taken.extend_from_slice(&data);
        }
    }
    if discard {
        Err(too_large())
    } else {
        Ok(taken.freeze())
    }
}

fn too_large() -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!(
            "a body may have {} MiB; nothing has been changed – send it in several requests",
            MOST >> 20
        ),
    )
}

/// Reads faults: one `NetworkFault`, or `{"items": […]}`, in JSON or YAML.
///
/// # Errors
/// Broken form (400 with the place), wrong content (422 with all of it), or another media type (415).
pub(super) async fn faults(turns: &Semaphore, headers: HeaderMap, body: Bytes) -> Result<Submitted, Refusal> {
    in_turn(turns, body.len(), move || read(&headers, &body)).await
}

/// Reads an experiment with its faults, in JSON.
///
/// # Errors
/// As for [`faults`].
pub(super) async fn run(
    turns: &Semaphore,
    headers: HeaderMap,
    body: Bytes,
) -> Result<RunSubmission, Refusal> {
    const FORM: &str = "an experiment is sent as application/json: {\"experiment\": {…}, \"faults\": [{…}]}";
    in_turn(turns, body.len(), move || {
        json(&headers, &body, FORM, parse_run_body)
    })
    .await
}

/// Reads a schedule with its experiment and faults, in JSON.
///
/// # Errors
/// As for [`faults`].
pub(super) async fn schedule(
    turns: &Semaphore,
    headers: HeaderMap,
    body: Bytes,
) -> Result<ScheduleSubmission, Refusal> {
    const FORM: &str = "a schedule is sent as application/json: {\"schedule\": {…}, \"run\": {…}}";
    in_turn(turns, body.len(), move || {
        json(&headers, &body, FORM, parse_schedule_body)
    })
    .await
}

/// Away from the threads that serve: the largest body takes a second and sixty times its size, and a halt must not wait
/// for it. A small one is read at once, since to wake another thread takes longer.
async fn in_turn<T: Send + 'static>(
    turns: &Semaphore,
    length: usize,
    read: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    if length <= SMALL {
        return read();
    }
    let gone = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending");
    let _turn = turns.acquire().await.map_err(|_| gone(()))?;
    tokio::task::spawn_blocking(read).await.map_err(|_| gone(()))?
}

fn json<T>(
    headers: &HeaderMap,
    body: &[u8],
    form: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, Diagnostics>,
) -> Result<T, Refusal> {
    if format(headers, body)? != Format::Json {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, form));
    }
    let broken = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err();
    parse(body).map_err(|wrong| refuse(wrong.0.into_iter().map(Into::into).collect(), broken))
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Submitted, Refusal> {
    let faults = match format(headers, body)? {
        Format::Json => {
            let broken = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err();
            chaos_spec::parse_body(body)
                .map_err(|wrong| refuse(wrong.0.into_iter().map(Into::into).collect(), broken))?
        }
        Format::Yaml => {
            let located = chaos_spec::parse("", body).map_err(|wrong| {
                // What is wrong with the text itself has a place but no field.
                let broken = wrong
                    .0
                    .iter()
                    .any(|error| error.path.is_root() && error.mark.is_some());
                refuse(wrong.0.into_iter().map(Into::into).collect(), broken)
            })?;
            located.into_iter().map(|located| located.fault).collect()
        }
    };
    let single = faults.len() == 1 && !has_items(headers, body);
    Ok(Submitted { faults, single })
}

fn refuse(errors: Vec<ProblemError>, broken: bool) -> Refusal {
    if !broken {
        return Refusal::invalid(errors);
    }
    let detail = match errors.first() {
        Some(ProblemError {
            line: Some(line),
            column: Some(column),
            message,
            ..
        }) => {
            format!("line {line}, column {column}: {message}; nothing has been changed")
        }
        Some(error) => format!("{}; nothing has been changed", error.message),
        None => "the body cannot be read; nothing has been changed".to_owned(),
    };
    Refusal::new(StatusCode::BAD_REQUEST, detail).with_errors(errors)
}

/// Whether pointers into this body begin with `/items`.
fn has_items(headers: &HeaderMap, body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Items {
        #[serde(rename = "items")]
        _items: serde::de::IgnoredAny,
    }
    match format(headers, body) {
        Ok(Format::Json) => serde_json::from_slice::<Items>(body).is_ok(),
        Ok(Format::Yaml) => serde_saphyr::from_slice::<Items>(body).is_ok(),
        Err(_) => false,
    }
}

/// What the client says it is. One that says nothing, or what `curl -d` says by itself, is looked at.
fn format(headers: &HeaderMap, body: &[u8]) -> Result<Format, Refusal> {
    let said = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = said
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let looks_like_json = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    match kind.as_str() {
        "application/json" => Ok(Format::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Ok(Format::Yaml),
        "" | "application/x-www-form-urlencoded" if looks_like_json => Ok(Format::Json),
        "" | "application/x-www-form-urlencoded" => Ok(Format::Yaml),
        other if other.ends_with("+json") => Ok(Format::Json),
        other if other.ends_with("+yaml") => Ok(Format::Yaml),
        other => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("`{other}` cannot be read – send application/json or application/yaml"),
        )),
    }
}
