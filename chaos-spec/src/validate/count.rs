use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;

use super::Errors;
use crate::path::SpecPath;

/// A short list, of which each item is looked for in each packet: not too many, and none of them twice.
pub(super) fn check<T: Display + Eq + Hash>(path: &str, items: &[T], most: usize, errors: &mut Errors) {
    if items.len() > most {
        let message = format!("{} are more than the {most} that can be told apart", items.len());
        errors.add(path, message, "leave some out, or write another fault for them");
        return;
    }
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        if !seen.insert(item) {
            errors.at(
                SpecPath::of(path).index(index),
                format!("{item} is named twice"),
                "name it once",
            );
        }
    }
}
