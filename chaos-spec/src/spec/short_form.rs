//! Types that are written as fields, or in short as one text.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

pub(crate) trait ShortForm<'de>: Sized {
    type Fields: Deserialize<'de> + Into<Self>;
    /// For messages: what may stand here.
    const EXPECTED: &'static str;

    /// # Errors
    /// It is no short form: the reason and the remedy.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// Reads either.
pub(crate) fn text_or_fields<'de, T: ShortForm<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct Either<T>(PhantomData<T>);
    impl<'de, T: ShortForm<'de>> Visitor<'de> for Either<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(T::EXPECTED)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            T::from_text(text).map_err(E::custom)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::Fields::deserialize(MapAccessDeserializer::new(map)).map(Into::into)
        }
    }
    deserializer.deserialize_any(Either(PhantomData))
}
