//! Values of flags that are no plain unit.

use chaos_spec::{Chance, GilbertElliott};
use clap::builder::{PossibleValuesParser, TypedValueParser, ValueParser};
use serde::de::DeserializeOwned;

/// One of some words, as the same word in a file: help and completions list them.
pub(super) fn words<T>(words: &'static [&'static str]) -> ValueParser
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    let read = |word: String| serde_json::from_value::<T>(serde_json::Value::String(word));
    PossibleValuesParser::new(words).try_map(read).into()
}

/// `p=1%,r=10%,h=0%,k=100%`; h and k may be left out.
pub(super) fn gilbert_elliott(text: &str) -> Result<GilbertElliott, String> {
    const EXAMPLE: &str = "write `p=1%,r=10%`, and `h` and `k` when they differ from 0% and 100%";
    let (mut p, mut r, mut h, mut k) = (None, None, None, None);
    for part in text.split(',') {
        let Some((name, value)) = part.split_once('=') else {
            return Err(format!("`{part}` has no `=` – {EXAMPLE}"));
        };
        let place = match name.trim() {
            "p" => &mut p,
            "r" => &mut r,
            "h" => &mut h,
            "k" => &mut k,
            other => return Err(format!("`{other}` is none of p, r, h and k – {EXAMPLE}")),
        };
        let chance: Chance = value.parse().map_err(|error| format!("{name}: {error}"))?;
        if place.replace(chance).is_some() {
            return Err(format!("`{name}` is given twice – {EXAMPLE}"));
        }
    }
    match (p, r) {
        (Some(p), Some(r)) => Ok(GilbertElliott {
            p,
            r,
            h: h.unwrap_or(Chance::NEVER),
            k: k.unwrap_or(Chance::ALWAYS),
        }),
        (None, _) => Err(format!("`p` is missing – {EXAMPLE}")),
        (_, None) => Err(format!("`r` is missing – {EXAMPLE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_good_state_delivers_unless_said_otherwise() {
        let model = gilbert_elliott("p=1%, r=10%").expect("complete");
        assert_eq!(model.p.to_string(), "1%");
        assert_eq!((model.h, model.k), (Chance::NEVER, Chance::ALWAYS));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, word) in [
            ("p=1%", "`r` is missing"),
            ("p=1,r=2%", "percent sign"),
            ("q=1%", "none of"),
            ("p", "no `=`"),
            ("p=1%,p=2%", "twice"),
        ] {
            let error = gilbert_elliott(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
