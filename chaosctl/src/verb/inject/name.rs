//! Names for faults that were given none.

use std::hash::{BuildHasher, RandomState};

use chaos_spec::FaultKind;
use chaos_spec::api::FaultView;

/// `drop-3f2a`: the fault's word and four random hexadecimal digits, different from all that exist.
pub(super) fn made_up(kind: FaultKind, existing: &[FaultView]) -> String {
    // The standard library seeds every RandomState from the system's randomness.
    let random = RandomState::new();
    let mut name = String::new();
    for attempt in 0_u64.. {
        // Longer with every sixteen attempts, so that a crowded daemon still has a free name.
        let digits = 4 + usize::try_from(attempt / 16).unwrap_or(0).min(12);
        let hex = format!("{:016x}", random.hash_one(attempt));
        name = format!("{kind}-{}", &hex[..digits]);
        if existing.iter().all(|view| view.metadata.name != name) {
            break;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_and_four_digits() {
        let name = made_up(FaultKind::Drop, &[]);
        let digits = name.strip_prefix("drop-").expect("the word");
        assert_eq!(digits.len(), 4);
        assert!(digits.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(
            (0..8).map(|_| made_up(FaultKind::Drop, &[])).collect::<Vec<_>>(),
            vec![name; 8]
        );
    }
}
