//! What is wrong with a spec file, and where.

use std::fmt;
use std::path::PathBuf;

/// A place in a file, from 1. A column counts characters.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// A text by lines, for the places of its bytes.
pub(crate) struct Lines<'a> {
    text: &'a str,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0)
            .chain(ends.map(|(end, _)| end.saturating_add(1)))
            .collect();
        Self { text, starts }
    }

    /// The place of the byte at `offset`; of the end, if there is no such byte.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self
            .starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        Place {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(before.chars().count())
                .unwrap_or(u32::MAX)
                .saturating_add(1),
        }
    }

    /// Where `part` begins, which is a piece of the text itself.
    pub(crate) fn offset(&self, part: &str) -> usize {
        (part.as_ptr() as usize)
            .saturating_sub(self.text.as_ptr() as usize)
            .min(self.text.len())
    }
}

/// Something in a spec file that is wrong, or that this version cannot do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where, if it has a place.
    pub place: Option<Place>,
    /// The field, such as `48` or `48.3`.
    pub field: Option<String>,
    /// The class, encoding or key that is meant, as the file has it.
    pub class: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What would be right, if that can be said.
    pub expected: Option<String>,
}

impl Problem {
    /// A problem of the file as a whole.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            place: None,
            field: None,
            class: None,
            what: what.into(),
            expected: None,
        }
    }

    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    /// Of this field, unless it already says of which.
    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.field.get_or_insert_with(|| field.into());
        self
    }

    pub(crate) fn class(mut self, class: impl Into<String>) -> Self {
        self.class.get_or_insert_with(|| class.into());
        self
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected.get_or_insert_with(|| expected.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = &self.field {
            write!(f, "field {field}: ")?;
        }
        if let Some(class) = &self.class {
            write!(f, "{class}: ")?;
        }
        f.write_str(&self.what)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        Ok(())
    }
}

/// Why a spec file is refused: everything that is wrong with it, as far as it could be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpecFileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it, by place: at least one thing.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SpecFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.file.display())?;
            if let Some(place) = problem.place {
                write!(f, ":{}:{}", place.line, place.column)?;
            }
            write!(f, ": {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SpecFileError {}

/// The nearest of these words, if one is near enough to have been meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// `expected one of`, with the nearest in front if there is one.
pub(crate) fn one_of(word: &str, known: &[&str]) -> String {
    let list = known.join(", ");
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("one of {list}; the nearest is `{near}`"),
        None => format!("one of {list}"),
    }
}
