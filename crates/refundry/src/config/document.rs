//! A TOML document read key by key: every key that is asked for becomes a known one, what is left over is unknown, and every
//! problem is kept with its place instead of ending the reading.

use std::cell::RefCell;
use std::fmt::Display;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Problem, nearest};

/// The text with the problems found in it so far.
pub(super) struct Document<'d> {
    text: &'d str,
    problems: RefCell<Vec<Problem>>,
}

impl<'d> Document<'d> {
    pub(super) fn new(text: &'d str) -> Document<'d> {
        Document {
            text,
            problems: RefCell::new(Vec::new()),
        }
    }

    /// Keeps a problem at a byte offset of the text.
    pub(super) fn problem(&self, offset: Option<usize>, key: &str, message: impl Display) {
        self.problems.borrow_mut().push(Problem {
            line: offset.map(|offset| self.line(offset)),
            key: key.to_owned(),
            message: message.to_string(),
        });
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// The line of a byte offset, from 1.
    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        before.filter(|&&byte| byte == b'\n').count() + 1
    }
}

/// One table of the document, or the absence of one: then every key takes its default.
pub(super) struct Section<'d> {
    document: &'d Document<'d>,
    /// The keys that lead here, such as `listen[0]`; empty at the root.
    path: String,
    /// Where the table begins; `None` where it is absent.
    offset: Option<usize>,
    table: Option<&'d DeTable<'d>>,
    known: RefCell<Vec<&'static str>>,
    later: RefCell<Vec<&'static str>>,
}

impl<'d> Section<'d> {
    /// The whole document.
    pub(super) fn root(document: &'d Document<'d>, table: &'d DeTable<'d>) -> Section<'d> {
        Section::new(document, String::new(), None, Some(table))
    }

    fn new(
        document: &'d Document<'d>,
        path: String,
        offset: Option<usize>,
        table: Option<&'d DeTable<'d>>,
    ) -> Section<'d> {
        Section {
            document,
            path,
            offset,
            table,
            known: RefCell::new(Vec::new()),
            later: RefCell::new(Vec::new()),
        }
    }

    /// The table under `key`. One that is absent is read as an empty one.
    pub(super) fn section(&self, key: &'static str) -> Section<'d> {
        let path = self.key_path(key);
        let Some(value) = self.value(key) else {
            return Section::new(self.document, path, None, None);
        };
        let table = value.get_ref().as_table();
        if table.is_none() {
            let found = describe(value.get_ref());
            self.problem(key, format!("expected a table [{path}], found {found}"));
        }
        Section::new(self.document, path, Some(value.span().start), table)
    }

    /// The tables of the array `[[key]]`.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'d>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            let found = match value.get_ref() {
                DeValue::Table(_) => format!("a single table [{key}]"),
                other => describe(other),
            };
            self.problem(
                key,
                format!("expected tables [[{key}]] (double brackets), found {found}"),
            );
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, element) in array.iter().enumerate() {
            let path = format!("{key}[{index}]");
            let table = element.get_ref().as_table();
            if table.is_none() {
                let found = describe(element.get_ref());
                self.document.problem(
                    Some(element.span().start),
                    &path,
                    format!("expected a table, found {found}"),
                );
                continue;
            }
            let offset = Some(element.span().start);
            sections.push(Section::new(self.document, path, offset, table));
        }
        sections
    }

    /// The value of `key`, read by `parse`, which says what it expected where it cannot. `None`: absent, or reported.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&'d DeValue<'d>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        match parse(value.get_ref()) {
            Ok(parsed) => Some(parsed),
            Err(message) => {
                let offset = Some(value.span().start);
                self.document.problem(offset, &self.key_path(key), message);
                None
            }
        }
    }

    /// As [`Section::read`]; where the key is absent, its default.
    pub(super) fn or<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&'d DeValue<'d>) -> Result<T, String>,
        default: impl FnOnce() -> T,
    ) -> Option<T> {
        match self.value(key) {
            None => Some(default()),
            Some(_) => self.read(key, parse),
        }
    }

    /// As [`Section::read`], for a key without a default. `expected` says what is missing.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&'d DeValue<'d>) -> Result<T, String>,
    ) -> Option<T> {
        if self.value(key).is_none() {
            self.document.problem(
                self.offset,
                &self.key_path(key),
                format!("is missing; expected {expected}"),
            );
        }
        self.read(key, parse)
    }

    /// Refuses keys of later versions.
    pub(super) fn not_in_this_version(&self, keys: &[&'static str]) {
        for &key in keys {
            self.later.borrow_mut().push(key);
            if let Some((place, _)) = self.entry(key) {
                let offset = Some(place.span().start);
                let path = self.key_path(key);
                self.document
                    .problem(offset, &path, format!("`{key}` is not in this version"));
            }
        }
    }

    /// Every key of the table with its value, for tables whose keys are data.
    pub(super) fn entries(&self) -> Vec<(&'d str, &'d DeValue<'d>)> {
        self.table
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.get_ref().as_ref(), value.get_ref()))
            .collect()
    }

    /// Reports every key that nobody asked for. Whatever begins with `tls` comes with a later version.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        let later = self.later.borrow();
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) || later.contains(&name) {
                continue;
            }
            let message = if name.starts_with("tls") {
                format!("`{name}` is not in this version")
            } else {
                let nearest = nearest(name, known.iter().copied()).unwrap_or_default();
                format!("unknown key `{name}`; the nearest known one is `{nearest}`")
            };
            let offset = Some(key.span().start);
            self.document.problem(offset, &self.key_path(name), message);
        }
    }

    /// Keeps a problem at `key`, or at the table's head where the key is absent.
    pub(super) fn problem(&self, key: &str, message: impl Display) {
        let offset = match self.entry(key) {
            Some((place, _)) => Some(place.span().start),
            None => self.offset,
        };
        self.document.problem(offset, &self.key_path(key), message);
    }

    /// Whether the file says anything about `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether the file has a table under `key`.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.entry(key)
            .is_some_and(|(_, value)| value.get_ref().as_table().is_some())
    }

    /// Whether `key` is absent or an array without elements.
    pub(super) fn is_empty_array(&self, key: &str) -> bool {
        self.entry(key).is_none_or(|(_, value)| {
            value
                .get_ref()
                .as_array()
                .is_some_and(|array| array.is_empty())
        })
    }

    /// `key` with the keys that lead to it.
    pub(super) fn key_path(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    fn value(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.known.borrow_mut().push(key);
        self.entry(key).map(|(_, value)| value)
    }

    fn entry(
        &self,
        key: &str,
    ) -> Option<(
        &'d Spanned<std::borrow::Cow<'d, str>>,
        &'d Spanned<DeValue<'d>>,
    )> {
        self.table?.iter().find(|(name, _)| name.get_ref() == key)
    }
}

/// A value for a message: its kind, and itself where that is short.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    /// Characters of a value that a message shows.
    const SHOWN_CHARACTERS_MAX: usize = 60;
    match value {
        DeValue::String(text) if text.chars().count() > SHOWN_CHARACTERS_MAX => {
            "a long string".to_owned()
        }
        DeValue::String(text) => format!("{:?}", text.as_ref()),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
