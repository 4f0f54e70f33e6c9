//! The small values of a spec. Each is written as text with its unit, is refused when the unit is missing, and
//! is displayed back in one canonical form, so that parse → render → parse is the identity.
//!
//! Every error reads `what is wrong – what to write instead`: [`split_remedy`] takes the halves apart again.

mod address;
mod bound;
mod chance;
mod dns;
mod duration;
mod endpoint;
mod http;
mod ports;
mod rate;
mod status;
mod tolerance;

pub use address::{AddressError, Cidr, Hostname};
pub use bound::{BoundError, Comparison, LatencyBound, ShareBound, ValueBound};
pub use chance::{Chance, ChanceError};
pub use dns::{DnsName, DnsNameError, DnsType, DnsTypeError};
pub use duration::{Duration, DurationError};
pub use endpoint::{Endpoint, EndpointError, HttpUrl};
pub use http::{HostError, HostPattern, Method, MethodError, PathError, PathPattern};
pub use ports::{PortError, PortRange};
pub use rate::{ByteSize, QuantityError, Rate};
pub use status::{StatusError, StatusRange};
pub use tolerance::{LatencyTolerance, ToleranceError, ValueTolerance};

/// What stands between the reason and the remedy in every message of this crate.
pub const REMEDY_MARK: &str = " – ";

/// Takes `reason – remedy` apart. The remedy is empty when the text has none.
pub fn split_remedy(text: &str) -> (String, String) {
    match text.split_once(REMEDY_MARK) {
        Some((reason, remedy)) => (reason.to_owned(), remedy.to_owned()),
        None => (text.to_owned(), String::new()),
    }
}

/// Gives a type its text form in serde and in the JSON Schema, from `Display` and `FromStr`.
///
/// A bare number is handed to `FromStr` as well: only there is it known whether it is fine (a port) or lacks a
/// unit (a chance), and the message can then name the unit.
macro_rules! text_form {
    ($type:ident, $expecting:literal, $schema:tt) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;
                impl serde::de::Visitor<'_> for TextVisitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }
                }
                deserializer.deserialize_any(TextVisitor)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}
pub(crate) use text_form;
