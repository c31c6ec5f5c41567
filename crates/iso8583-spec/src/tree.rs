//! TOML and JSON as one tree whose every value knows its place, so that a wrong value can be shown to whoever wrote it.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Lines, Place, Problem, one_of};

/// Most levels of a file. Deeper ones are refused: no dialect needs them.
const LEVELS_MAX: usize = 64;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) place: Place,
    pub(crate) node: Node,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Table(Vec<Entry>),
    Array(Vec<Tree>),
    Text(String),
    Integer(i64),
    Boolean(bool),
    /// A number with a fraction, a date, null: nothing that a spec file has.
    Other,
}

/// A key of a table with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Tree,
}

/// Reads TOML.
pub(crate) fn toml(text: &str) -> Result<Tree, Problem> {
    let lines = &Lines::new(text);
    let table = toml::de::DeTable::parse(text).map_err(|error| {
        let problem = Problem::new(error.message().to_owned());
        match error.span() {
            Some(span) => problem.at(lines.place(span.start)),
            None => problem,
        }
    })?;
    let place = lines.place(table.span().start);
    Ok(Tree {
        place,
        node: toml_table(lines, table.get_ref()),
    })
}

fn toml_table(lines: &Lines<'_>, table: &toml::de::DeTable<'_>) -> Node {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            place: lines.place(key.span().start),
            value: Tree {
                place: lines.place(value.span().start),
                node: toml_value(lines, value.get_ref()),
            },
        })
        .collect();
    entries.sort_by_key(|entry| entry.place);
    Node::Table(entries)
}

fn toml_value(lines: &Lines<'_>, value: &toml::de::DeValue<'_>) -> Node {
    use toml::de::DeValue;
    match value {
        DeValue::Table(table) => toml_table(lines, table),
        DeValue::Array(items) => Node::Array(
            items
                .iter()
                .map(|item| Tree {
                    place: lines.place(item.span().start),
                    node: toml_value(lines, item.get_ref()),
                })
                .collect(),
        ),
        DeValue::String(string) => Node::Text(string.to_string()),
        DeValue::Integer(integer) => {
            let digits = integer.as_str().replace('_', "");
            i64::from_str_radix(&digits, integer.radix()).map_or(Node::Other, Node::Integer)
        }
        DeValue::Boolean(boolean) => Node::Boolean(*boolean),
        DeValue::Float(_) | DeValue::Datetime(_) => Node::Other,
    }
}

/// Reads JSON.
pub(crate) fn json(text: &str) -> Result<Tree, Problem> {
    json_value(&Lines::new(text), text, 0)
}

fn json_value(whole: &Lines<'_>, part: &str, level: usize) -> Result<Tree, Problem> {
    let part = part.trim_start_matches([' ', '\t', '\r', '\n']);
    let offset = whole.offset(part);
    let place = whole.place(offset);
    if level > LEVELS_MAX {
        return Err(Problem::new("too many levels")
            .at(place)
            .expected(format!("at most {LEVELS_MAX}")));
    }
    let wrong = |error: serde_json::Error| {
        Problem::new(without_position(&error)).at(json_place(whole, offset, &error))
    };
    let below = level.saturating_add(1);
    let node = match part.bytes().next() {
        Some(b'{') => {
            let Pairs(pairs) = serde_json::from_str(part).map_err(wrong)?;
            let entries = pairs.into_iter().map(|(key, raw)| {
                let value = json_value(whole, raw.get(), below)?;
                // A key has no position of its own: its value stands behind it.
                let place = value.place;
                Ok(Entry { key, place, value })
            });
            Node::Table(entries.collect::<Result<_, Problem>>()?)
        }
        Some(b'[') => {
            let Items(items) = serde_json::from_str(part).map_err(wrong)?;
            let items = items
                .into_iter()
                .map(|raw| json_value(whole, raw.get(), below));
            Node::Array(items.collect::<Result<_, Problem>>()?)
        }
        _ => match serde_json::from_str::<serde_json::Value>(part).map_err(wrong)? {
            serde_json::Value::String(string) => Node::Text(string),
            serde_json::Value::Number(number) => number.as_i64().map_or(Node::Other, Node::Integer),
            serde_json::Value::Bool(boolean) => Node::Boolean(boolean),
            _ => Node::Other,
        },
    };
    Ok(Tree { place, node })
}

/// The place of an error that counts lines and columns from `offset`.
fn json_place(whole: &Lines<'_>, offset: usize, error: &serde_json::Error) -> Place {
    let start = whole.place(offset);
    let line = u32::try_from(error.line()).unwrap_or(u32::MAX).max(1);
    let column = u32::try_from(error.column()).unwrap_or(u32::MAX).max(1);
    Place {
        line: start.line.saturating_add(line.saturating_sub(1)),
        column: match line {
            1 => start.column.saturating_add(column.saturating_sub(1)),
            _ => column,
        },
    }
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

struct Pairs<'a>(Vec<(String, &'a RawValue)>);
struct Items<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;
        impl<'de> Visitor<'de> for ItemsVisitor {
            type Value = Items<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

impl Tree {
    /// The table that this is.
    pub(crate) fn table(&self) -> Result<Table<'_>, Problem> {
        match &self.node {
            Node::Table(entries) => Table::new(self.place, entries),
            _ => Err(self.wrong("a table")),
        }
    }

    pub(crate) fn array(&self) -> Result<&[Tree], Problem> {
        match &self.node {
            Node::Array(items) => Ok(items),
            _ => Err(self.wrong("an array")),
        }
    }

    pub(crate) fn text(&self) -> Result<&str, Problem> {
        match &self.node {
            Node::Text(text) => Ok(text),
            _ => Err(self.wrong("text")),
        }
    }

    pub(crate) fn boolean(&self) -> Result<bool, Problem> {
        match self.node {
            Node::Boolean(boolean) => Ok(boolean),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// A number from `least` to `most`.
    pub(crate) fn number<N>(&self, least: N, most: N) -> Result<N, Problem>
    where
        N: TryFrom<i64> + PartialOrd + Copy + fmt::Display,
    {
        let Node::Integer(integer) = self.node else {
            return Err(self.wrong(format!("a number from {least} to {most}")));
        };
        match N::try_from(integer) {
            Ok(number) if number >= least && number <= most => Ok(number),
            _ => Err(Problem::new(format!("{integer} is out of range"))
                .at(self.place)
                .expected(format!("{least} to {most}"))),
        }
    }

    /// One of the words of a table of words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Problem> {
        let text = self.text()?;
        find_word(text, words).ok_or_else(|| unknown_word(text, words).at(self.place))
    }

    pub(crate) fn wrong(&self, expected: impl Into<String>) -> Problem {
        let is = match &self.node {
            Node::Table(_) => "a table".to_owned(),
            Node::Array(_) => "an array".to_owned(),
            Node::Text(text) => format!("{text:?}"),
            Node::Integer(integer) => integer.to_string(),
            Node::Boolean(boolean) => boolean.to_string(),
            Node::Other => "neither text nor a whole number".to_owned(),
        };
        Problem::new(format!("this is {is}"))
            .at(self.place)
            .expected(expected)
    }
}

pub(crate) fn find_word<T: Copy>(text: &str, words: &[(&str, T)]) -> Option<T> {
    words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
}

pub(crate) fn unknown_word<T>(text: &str, words: &[(&str, T)]) -> Problem {
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    Problem::new(format!("unknown word {text:?}")).expected(one_of(text, &known))
}

/// A table that is being read: what is not asked for is unknown.
pub(crate) struct Table<'a> {
    pub(crate) place: Place,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
}

impl<'a> Table<'a> {
    fn new(place: Place, entries: &'a [Entry]) -> Result<Self, Problem> {
        let mut keys = BTreeSet::new();
        for entry in entries {
            if !keys.insert(entry.key.as_str()) {
                return Err(
                    Problem::new(format!("the key `{}` is there twice", entry.key)).at(entry.place),
                );
            }
        }
        Ok(Self {
            place,
            entries,
            asked: Vec::new(),
        })
    }

    /// Every entry, for tables whose keys are names or numbers.
    pub(crate) fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    /// The value of this key.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<&'a Tree> {
        self.asked.push(key);
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }

    pub(crate) fn needed(&mut self, key: &'static str) -> Result<&'a Tree, Problem> {
        self.get(key)
            .ok_or_else(|| Problem::new(format!("the key `{key}` is missing")).at(self.place))
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<&'a str>, Problem> {
        self.get(key).map(Tree::text).transpose()
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Result<bool, Problem> {
        self.get(key).map_or(Ok(false), Tree::boolean)
    }

    /// Refuses the first key that nobody asked for.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self
            .entries
            .iter()
            .find(|entry| !self.asked.contains(&entry.key.as_str()))
        {
            Some(entry) => Err(Problem::new(format!("unknown key `{}`", entry.key))
                .at(entry.place)
                .expected(one_of(&entry.key, &self.asked))),
            None => Ok(()),
        }
    }
}
