//! A fault back to YAML, in the form a person would write: defaults left out, fields in the order of the schema.

use crate::NetworkFault;

/// Why a fault cannot be written. The types hold nothing that YAML cannot, so this is a defect of ours.
#[derive(Debug, thiserror::Error)]
#[error("the fault `{name}` cannot be written as YAML: {source} – report this as a defect")]
pub struct RenderError {
    name: String,
    source: serde_saphyr::SerializeError,
}

/// One YAML document for each fault, divided by `---`. Reading it back gives the same faults.
///
/// # Errors
/// None that a fault from [`crate::parse()`] can cause.
pub fn to_yaml(faults: &[NetworkFault]) -> Result<String, RenderError> {
    let mut text = String::new();
    for fault in faults {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        let document = serde_saphyr::to_string(fault).map_err(|source| RenderError {
            name: fault.name().to_owned(),
            source,
        })?;
        text.push_str(&document);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}
