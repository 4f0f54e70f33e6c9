use super::Errors;
use crate::path::SpecPath;
use crate::{API_VERSION, KIND, NetworkFault};

const MOST: usize = 63;

pub(super) fn check(fault: &NetworkFault, errors: &mut Errors) {
    if fault.api_version != API_VERSION {
        let message = format!("`{}` is not a version that is known", fault.api_version);
        errors.add(
            "apiVersion",
            message,
            format!("write `apiVersion: {API_VERSION}`"),
        );
    }
    if fault.kind != KIND {
        let message = format!("`{}` is not a kind that is known", fault.kind);
        errors.add("kind", message, format!("write `kind: {KIND}`"));
    }
    check_name(fault.name(), errors);
    for (key, value) in &fault.metadata.labels {
        let path = SpecPath::of("metadata.labels").field(key);
        let printable = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        if key.is_empty() || key.len() > 4 * MOST || !printable(key) {
            let remedy = "write one to 252 letters, digits and signs, without spaces";
            errors.at(path, "this is not a key for a label", remedy);
        } else if value.len() > 4 * MOST || value.chars().any(char::is_control) {
            errors.at(
                path,
                "this is not a value for a label",
                "write at most 252 characters on one line",
            );
        }
    }
}

pub(super) fn check_name(name: &str, errors: &mut Errors) {
    let mut refuse = |message: String, remedy: String| errors.add("metadata.name", message, remedy);
    if name.is_empty() {
        return refuse(
            "the name is empty".to_owned(),
            "write a name such as `slow-orders-db`".to_owned(),
        );
    }
    if name.len() > MOST {
        return refuse(
            format!("the name has {} characters", name.len()),
            format!("write at most {MOST}"),
        );
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.chars().all(allowed) && !name.starts_with('-') && !name.ends_with('-') {
        return;
    }
    let better: String = name
        .to_lowercase()
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect::<String>();
    let better = better.trim_matches('-');
    let better = if better.is_empty() {
        "slow-orders-db"
    } else {
        better
    };
    refuse(
        format!("`{name}` is not a name: only lower-case letters, digits and hyphens, no hyphen at an end"),
        format!("write `{better}`"),
    );
}
