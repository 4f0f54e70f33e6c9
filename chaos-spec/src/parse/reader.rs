//! Reads a type out of a [`Node`], with serde. In place of serde's own messages stand ones for people who write
//! specs: they know the path, name the nearest known field, and say what to write instead.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
};
use serde::forward_to_deserialize_any;

use super::node::{Entry, Item, Node, Number, Value};
use super::read_error::ReadError;
use crate::path::Step;

pub(super) struct Reader<'a>(pub(super) &'a Node);

type Read<T> = Result<T, ReadError>;

impl Reader<'_> {
    fn expected(&self, what: &str, remedy: impl Into<String>) -> ReadError {
        if self.0.value == Value::Null {
            return self.empty();
        }
        ReadError::new(format!("expected {what}, found {}", self.0.describe()), remedy)
    }

    fn empty(&self) -> ReadError {
        ReadError::new(
            "nothing is written here",
            "give it a value, or leave the field out",
        )
    }

    fn whole_number(&self, most: u64) -> Read<u64> {
        match &self.0.value {
            Value::Number(Number::Unsigned(number), _) if *number <= most => Ok(*number),
            Value::Number(Number::Unsigned(number), _) => Err(ReadError::new(
                format!("{number} is too large"),
                format!("write at most {most}"),
            )),
            Value::Text(text) if text.parse::<u64>().is_ok() => {
                Err(self.expected("a whole number", format!("leave the quotes out: {text}")))
            }
            _ => Err(self.expected("a whole number", "write digits only")),
        }
    }
}

macro_rules! whole_numbers {
    ($($method:ident $type:ty),*) => {
        $(fn $method<V: serde::de::Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
            visitor.visit_u64(self.whole_number(u64::from(<$type>::MAX))?)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        match &self.0.value {
            Value::Null => Err(self.empty()),
            Value::Bool(value) => visitor.visit_bool(*value),
            // Types that take a number here are texts with a unit, and want to quote what was written.
            Value::Number(_, Some(spelled)) => visitor.visit_str(spelled),
            Value::Number(Number::Unsigned(number), None) => visitor.visit_u64(*number),
            Value::Number(Number::Signed(number), None) => visitor.visit_i64(*number),
            Value::Number(Number::Float(number), None) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Map(entries) => visitor.visit_map(Entries {
                rest: entries.iter(),
                value: None,
            }),
        }
    }

    whole_numbers!(deserialize_u8 u8, deserialize_u16 u16, deserialize_u32 u32, deserialize_u64 u64);

    fn deserialize_f64<V: serde::de::Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        match self.0.value {
            Value::Number(Number::Unsigned(number), _) => visitor.visit_f64(number as f64),
            Value::Number(Number::Signed(number), _) => visitor.visit_f64(number as f64),
            Value::Number(Number::Float(number), _) => visitor.visit_f64(number),
            _ => Err(self.expected("a number", "write it without quotes or unit, such as `-0.5`")),
        }
    }

    fn deserialize_bool<V: serde::de::Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        match &self.0.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.expected("`true` or `false`", "write one of the two")),
        }
    }

    fn deserialize_str<V: serde::de::Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        match &self.0.value {
            Value::Text(text) => visitor.visit_str(text),
            // An id or a name may consist of digits.
            Value::Number(_, Some(spelled)) => visitor.visit_str(spelled),
            Value::Number(number, None) => {
                Err(self.expected("text", format!("put it in quotes: \"{number}\"")))
            }
            Value::Bool(value) => {
                Err(self.expected("text", format!("put it in quotes if you mean it: \"{value}\"")))
            }
            _ => Err(self.expected("text", "write one word or a text in quotes")),
        }
    }

    fn deserialize_string<V: serde::de::Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: serde::de::Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: serde::de::Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Read<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: serde::de::Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        match &self.0.value {
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Text(text) => Err(self.expected("a list", format!("write `[{text}]`"))),
            Value::Number(number, spelled) => {
                let number = spelled.clone().unwrap_or_else(|| number.to_string());
                Err(self.expected("a list", format!("write `[{number}]`")))
            }
            _ => Err(self.expected("a list", "write `[…]`, or one item a line behind `- `")),
        }
    }

    fn deserialize_map<V: serde::de::Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        match &self.0.value {
            Value::Map(entries) => visitor.visit_map(Entries {
                rest: entries.iter(),
                value: None,
            }),
            _ => Err(self.expected("fields", "write `name: value` pairs")),
        }
    }

    fn deserialize_struct<V: serde::de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        match (&self.0.value, fields.first()) {
            (Value::Map(entries), _) => visitor.visit_map(Entries {
                rest: entries.iter(),
                value: None,
            }),
            (Value::Null, Some(first)) => {
                let remedy = format!("write its fields, such as `{first}: …`, or leave it out");
                Err(ReadError::new("nothing is written here", remedy))
            }
            (Value::Null, None) => Err(ReadError::new(
                "nothing is written here",
                "write `{}`, or leave it out",
            )),
            (_, Some(first)) => Err(self.expected("fields", format!("write for example `{{{first}: …}}`"))),
            (_, None) => Err(self.expected("no more than its name", "write `{}`")),
        }
    }

    fn deserialize_enum<V: serde::de::Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        match &self.0.value {
            Value::Text(word) => visitor.visit_enum(word.as_str().into_deserializer()),
            Value::Map(entries) if entries.len() == 1 => visitor.visit_enum(OneOf(&entries[0])),
            _ => {
                let remedy = format!("write {}", super::nearest::either(variants));
                Err(self.expected("one word", remedy))
            }
        }
    }

    fn deserialize_identifier<V: serde::de::Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: serde::de::Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct
    }
}

struct Items<'a>(std::slice::Iter<'a, Item>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Read<Option<T::Value>> {
        let Some(item) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(Reader(&item.node))
            .map(Some)
            .map_err(|error| error.below(Step::Index(item.index)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Entries<'a> {
    rest: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Read<Option<K::Value>> {
        self.value = self.rest.next();
        let Some(entry) = self.value else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, ReadError> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Read<V::Value> {
        let Some(entry) = self.value.take() else {
            return Err(ReadError::new("a value was asked for before its name", ""));
        };
        seed.deserialize(Reader(&entry.node))
            .map_err(|error| error.below(Step::Field(entry.key.clone())))
    }
}

/// `{count: 2}` for an enum whose variant holds a value.
struct OneOf<'a>(&'a Entry);

impl<'a, 'de> EnumAccess<'de> for OneOf<'a> {
    type Error = ReadError;
    type Variant = OneOf<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Read<(V::Value, Self::Variant)> {
        let key: StrDeserializer<'_, ReadError> = self.0.key.as_str().into_deserializer();
        Ok((seed.deserialize(key)?, self))
    }
}

impl OneOf<'_> {
    fn below(&self, error: ReadError) -> ReadError {
        error.below(Step::Field(self.0.key.clone()))
    }
}

impl<'de> VariantAccess<'de> for OneOf<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Read<()> {
        let word = &self.0.key;
        Err(self.below(ReadError::new("takes no value", format!("write `{word}` alone"))))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Read<T::Value> {
        seed.deserialize(Reader(&self.0.node))
            .map_err(|error| self.below(error))
    }

    fn tuple_variant<V: serde::de::Visitor<'de>>(self, _: usize, visitor: V) -> Read<V::Value> {
        Reader(&self.0.node)
            .deserialize_seq(visitor)
            .map_err(|error| self.below(error))
    }

    fn struct_variant<V: serde::de::Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        Reader(&self.0.node)
            .deserialize_struct("", fields, visitor)
            .map_err(|error| self.below(error))
    }
}
