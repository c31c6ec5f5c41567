//! What a reader of spec files makes, before it is known whether it fits together.

use std::collections::BTreeMap;

use iso8583_codec::model::{Dialect, Encoding, Field, Format, Length};
use iso8583_codec::{Spec, SpecErrorKind};

use crate::error::{Place, Problem};
use crate::rules::Rules;
use crate::switches::Switches;

/// What becomes of a field whose length is not known.
pub(crate) const LEFT_OUT: &str = "it is left out: a message that has it cannot be read";

/// A dialect as it was read, with the places of its rows.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) dialect: Dialect,
    pub(crate) rules: Rules,
    pub(crate) switches: Switches,
    pub(crate) warnings: Vec<Problem>,
    /// What is wrong, and what a lenient reader does about it.
    pub(crate) problems: Vec<(Problem, &'static str)>,
    /// By the path of a field: where its row is, and its class there.
    pub(crate) origins: BTreeMap<String, Origin>,
}

/// Where a row comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) place: Place,
    pub(crate) class: Option<String>,
}

impl Imported {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            rules: Rules::default(),
            switches: Switches::default(),
            warnings: Vec::new(),
            problems: Vec::new(),
            origins: BTreeMap::new(),
        }
    }

    /// Something is wrong that one can read on after: a lenient reader does this about it.
    pub(crate) fn tolerate(&mut self, problem: Problem, done: &'static str) {
        self.problems.push((problem, done));
    }

    /// Compiles the dialect. An element that does not fit is a problem, and is made opaque, or left out where its length
    /// would not be known.
    pub(crate) fn compile(&mut self) -> Result<Spec, Problem> {
        loop {
            let error = match Spec::compile(&self.dialect) {
                Ok(spec) => return Ok(spec),
                Err(error) => error,
            };
            let problem = self.problem(error.path(), error.kind());
            let element = error.path().split('.').next();
            let element = element.and_then(|de| de.parse().ok());
            let field = element.and_then(|de| self.dialect.fields.get_mut(&de));
            let Some((de, field)) = element.zip(field) else {
                return Err(problem);
            };
            // Each turn either takes an element away or makes one opaque that was not: there is an end.
            match opaque(field).filter(|opaque| opaque != field) {
                Some(opaque) => {
                    *field = opaque;
                    self.tolerate(problem, "it is kept as bytes");
                }
                None => {
                    self.dialect.fields.remove(&de);
                    self.tolerate(problem, LEFT_OUT);
                }
            }
        }
    }

    fn problem(&self, path: &str, kind: &SpecErrorKind) -> Problem {
        let problem = Problem::new(kind.to_string());
        if path.is_empty() {
            return problem;
        }
        let problem = problem.field(path);
        // A subfield without a row of its own is a part of what surrounds it.
        let mut known = path;
        loop {
            if let Some(origin) = self.origins.get(known) {
                let problem = problem.at(origin.place);
                return match &origin.class {
                    Some(class) => problem.class(class.clone()),
                    None => problem,
                };
            }
            match known.rfind('.').and_then(|end| known.get(..end)) {
                Some(shorter) => known = shorter,
                None => return problem,
            }
        }
    }
}

/// The same field as bytes that nobody looks into, if its length is known.
pub(crate) fn opaque(field: &Field) -> Option<Field> {
    let length = match field.length {
        Length::Variable { prefix, max } => Length::Variable {
            prefix,
            max: max.min(prefix.largest()),
        },
        ref length => length.clone(),
    };
    let (format, encoding) = match field.encoding {
        // Two digits a byte stay digits: their number is what the length counts.
        Encoding::Bcd(_) | Encoding::Nibbles(_) => (Format::Any, field.encoding),
        Encoding::HexAscii | Encoding::HexEbcdic => (Format::B, field.encoding),
        _ => (Format::B, Encoding::Binary),
    };
    matches!(
        length,
        Length::Fixed(_) | Length::Variable { .. } | Length::Filled { .. }
    )
    .then(|| {
        Field::new(field.name.clone(), format, length)
            .encoded(encoding)
            .padded(None)
    })
}
