//! Records as JSON and the like: `{"mti":"0200","fields":{"3":"000000","48":{"1":"ab"},"64":{"hex":"00FF"}}}`.
//!
//! Text is a string, bytes are an object of the one key `hex`, subfields an object by number or tag in the order of the
//! message; a tag that comes more than once has an array. A header is a string of hexadecimal digits beside `mti`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Group, Record, Value, element};
use crate::check;
use crate::general::read::hex_of;
use crate::mti::Mti;
use crate::packed;

/// The key of bytes.
const HEX: &str = "hex";

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(HEX, &hex_of(bytes))?;
                map.end()
            }
            Self::Group(group) => group.serialize(serializer),
        }
    }
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut by_key: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for (key, value) in self.iter() {
            by_key.entry(key).or_default().push(value);
        }
        for (key, _) in self.iter() {
            // Taken out at its first place.
            match by_key.remove(key).as_deref() {
                Some([single]) => map.serialize_entry(key, single)?,
                Some(repeated) => map.serialize_entry(key, repeated)?,
                None => {}
            }
        }
        map.end()
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("mti", self.mti.as_str())?;
        if !self.header.is_empty() {
            map.serialize_entry("header", &hex_of(&self.header))?;
        }
        map.serialize_entry("fields", &self.fields)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Values)? {
            OneOrMore::One(value) => Ok(value),
            OneOrMore::More(_) => Err(D::Error::custom("an array, expected one value")),
        }
    }
}

/// What stands at a key: a value, or those of a tag that comes more than once.
enum OneOrMore {
    One(Value),
    More(Vec<Value>),
}

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = OneOrMore;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an object of hexadecimal digits, or an object of subfields")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMore, E> {
        Ok(OneOrMore::One(Value::from(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMore, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element()? {
            values.push(value);
        }
        Ok(OneOrMore::More(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<OneOrMore, A::Error> {
        let mut group = Group::new();
        while let Some((key, values)) = entries.next_entry::<String, OneOrMore>()? {
            if group.get(&key).is_some() {
                return Err(A::Error::custom(format_args!(
                    "{} comes twice; expected one value, or an array",
                    key.escape_debug()
                )));
            }
            match values {
                OneOrMore::One(value) => group.push(key, value),
                OneOrMore::More(values) => {
                    values
                        .into_iter()
                        .for_each(|value| group.push(key.as_str(), value));
                }
            }
        }
        let value = match group.0.as_slice() {
            [(key, Value::Text(digits))] if key == HEX => Value::Bytes(bytes(digits)?),
            _ => Value::Group(group),
        };
        Ok(OneOrMore::One(value))
    }
}

fn bytes<E: Error>(digits: &str) -> Result<Vec<u8>, E> {
    if !check::is_hex(digits.as_bytes()) {
        return Err(E::custom("expected pairs of hexadecimal digits"));
    }
    let mut bytes = vec![0; digits.len() / 2];
    packed::unpack_hex(digits.as_bytes(), &mut bytes);
    Ok(bytes)
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parts {
            mti: String,
            #[serde(default)]
            header: String,
            fields: Fields,
            /// What people are told beside the message is no part of it.
            #[serde(default, rename = "described")]
            _described: IgnoredAny,
            /// Where a message was found, neither.
            #[serde(default, rename = "capture")]
            _capture: IgnoredAny,
        }
        let parts = Parts::deserialize(deserializer)?;
        let mti = parts.mti.as_bytes().try_into().ok().and_then(Mti::new);
        let mti = mti.ok_or_else(|| D::Error::custom("mti: expected four digits"))?;
        Ok(Self {
            mti,
            header: bytes(&parts.header)?,
            fields: parts.fields.0,
        })
    }
}

/// The elements of a record.
struct Fields(BTreeMap<u8, Value>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByNumber;

        impl<'de> Visitor<'de> for ByNumber {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of elements by number")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Fields, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some(key) = entries.next_key::<String>()? {
                    let error = |what: &str| {
                        let key = key.escape_debug();
                        A::Error::custom(format_args!("field {key}: {what}"))
                    };
                    let de =
                        element(&key).ok_or_else(|| error("expected a number from 1 to 192"))?;
                    if fields.insert(de, entries.next_value()?).is_some() {
                        return Err(error("comes twice"));
                    }
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(ByNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_json() {
        let text = r#"{"mti":"0200","header":"AB01","fields":{"3":"000000","48":{"2":"x","10":["y",{"hex":"00"}],"1":{"9":"z"}},"64":{"hex":"00FF"}}}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        assert_eq!(record.get("64"), Some(&Value::Bytes(vec![0, 0xFF])));
        let keys: Vec<&str> = record
            .get("48")
            .and_then(Value::as_group)
            .unwrap()
            .iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(keys, ["2", "10", "10", "1"]);
    }

    #[test]
    fn what_is_none() {
        let check = |text: &str, what: &str| {
            let error = serde_json::from_str::<Record>(text)
                .unwrap_err()
                .to_string();
            assert!(error.contains(what), "{error}");
        };
        check(r#"{"mti":"02x0","fields":{}}"#, "four digits");
        check(r#"{"mti":"0200","fields":{"0":"x"}}"#, "1 to 192");
        check(
            r#"{"mti":"0200","fields":{"3":{"hex":"0"}}}"#,
            "hexadecimal",
        );
        check(r#"{"mti":"0200","fields":{"3":["x"]}}"#, "array");
        check(r#"{"mti":"0200","fields":{"3":3}}"#, "string");
        check(r#"{"mti":"0200","field":{}}"#, "unknown field");
        check(
            r#"{"mti":"0200","fields":{"3":"000000","3":"000001"}}"#,
            "field 3: comes twice",
        );
        check(
            r#"{"mti":"0200","fields":{"48":{"2":"x","2":"y"}}}"#,
            "2 comes twice",
        );
        check(r#"{"mti":"0200","fields":[]}"#, "elements by number");
    }
}
