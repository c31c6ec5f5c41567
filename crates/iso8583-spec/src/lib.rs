//! Spec files of ISO 8583 dialects.
//!
//! A file says how one host writes its messages. Four kinds are read: our own (TOML, `docs/spec-files.md`), the XML packagers
//! of jPOS, and the JSON specs of moov in both of their key styles. Whatever the file, the result is the same: the
//! [`Dialect`] of `iso8583_codec`, the rules and switches that the file has beyond that, and warnings.
//!
//! ```
//! use iso8583_spec::{Format, Options, parse};
//!
//! let text = r#"
//! name = "small"
//! [message]
//! mti = "ascii"
//! [fields.11]
//! name = "Trace number"
//! format = "n"
//! length = 6
//! "#;
//! let loaded = parse(text, "small", Format::Own, Options::default())?;
//! assert_eq!(loaded.dialect.fields[&11].name, "Trace number");
//! # Ok::<(), Vec<iso8583_spec::Problem>>(())
//! ```
//!
//! Nothing is fetched: a document type of an XML file is read over. What a file asks for and the codec does not have is an
//! error with the place, the field and the class; with [`Options::lenient`] it becomes a warning, and the field is kept as bytes
//! where its length is known, otherwise left out.

#![forbid(unsafe_code)]

mod error;
mod imported;
mod jpos;
mod moov;
mod own;
mod plausible;
mod rules;
mod switches;
mod tree;
mod unsaid;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use iso8583_codec::Spec;
use iso8583_codec::model::Dialect;

pub use error::{Place, Problem, SpecFileError};
pub use rules::{Condition, Conditional, MessageRule, Rules, Test, ValueRule, Violation};
pub use switches::{CLASSES, MessageKind, REASONS, Reference, Switches};

/// Most bytes of a file.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// The kinds of spec files.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Format {
    /// Our own, in TOML.
    Own,
    /// An XML packager of jPOS.
    Jpos,
    /// A JSON spec of moov; both key styles are read, the current one is written.
    Moov,
}

impl Format {
    /// The kind of a file: by the ending of its name, or by how it begins.
    #[must_use]
    pub fn of(path: &Path, text: &str) -> Self {
        let ending = path
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "toml" => Self::Own,
            "xml" => Self::Jpos,
            "json" => Self::Moov,
            _ => match text
                .trim_start_matches('\u{feff}')
                .trim_start()
                .bytes()
                .next()
            {
                Some(b'<') => Self::Jpos,
                Some(b'{') => Self::Moov,
                _ => Self::Own,
            },
        }
    }
}

/// How strict to be.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// What cannot be had becomes a warning.
    pub lenient: bool,
}

/// What a spec file says.
#[derive(Debug)]
pub struct Loaded {
    /// The kind of file.
    pub format: Format,
    /// The bytes of messages.
    pub dialect: Dialect,
    /// The same, compiled.
    pub spec: Spec,
    /// Which fields messages must have, and what they may hold.
    pub rules: Rules,
    /// What a switch has to know.
    pub switches: Switches,
    /// What was left out, or is taken otherwise than the file may mean.
    pub warnings: Vec<Problem>,
}

/// Reads a spec file; what kind it is, it says itself.
///
/// # Errors
/// Everything that is wrong, with file and places.
pub fn load(path: impl AsRef<Path>, options: Options) -> Result<Loaded, SpecFileError> {
    let path = path.as_ref();
    let refused = |problems| SpecFileError {
        file: path.to_owned(),
        problems,
    };
    let text = read(path).map_err(|problem| refused(vec![problem]))?;
    let name = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    parse(&text, &name, Format::of(path, &text), options).map_err(refused)
}

/// Reads the text of a spec file. `name` is what the dialect is called if the text does not say.
///
/// # Errors
/// Everything that is wrong, as far as it could be read.
pub fn parse(
    text: &str,
    name: &str,
    format: Format,
    options: Options,
) -> Result<Loaded, Vec<Problem>> {
    let text = text.trim_start_matches('\u{feff}');
    let imported = match format {
        Format::Own => own::import(text, name),
        Format::Jpos => jpos::import(text, name),
        Format::Moov => moov::import(text, name),
    };
    let mut imported = imported.map_err(|problem| vec![problem])?;
    let compiled = imported.compile();
    plausible::look(&mut imported);
    let problems = std::mem::take(&mut imported.problems);
    let spec = match compiled {
        Ok(spec) if options.lenient || problems.is_empty() => spec,
        compiled => {
            let problems = problems.into_iter().map(|(problem, _)| problem);
            return Err(by_place(problems.chain(compiled.err()).collect()));
        }
    };
    let mut warnings = imported.warnings;
    warnings.extend(problems.into_iter().map(|(problem, done)| Problem {
        what: format!("{}; {done}", problem.what),
        ..problem
    }));
    if imported.dialect.fields.is_empty() {
        warnings.push(Problem::new("there is no field: every message is empty"));
    }
    Ok(Loaded {
        format,
        dialect: imported.dialect,
        spec,
        rules: imported.rules,
        switches: imported.switches,
        warnings: by_place(warnings),
    })
}

fn by_place(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| problem.place);
    problems
}

/// Writes a dialect as a spec file, with what it says in that file of rules and switches.
///
/// The second part of the result is what was left out or could only be said nearly: empty, if the file says the same.
///
/// # Errors
/// With `lenient` false, the first thing that the format cannot say.
pub fn write(
    dialect: &Dialect,
    rules: &Rules,
    switches: &Switches,
    format: Format,
    options: Options,
) -> Result<(String, Vec<Problem>), Problem> {
    match format {
        Format::Own => Ok((own::export(dialect, rules, switches), Vec::new())),
        Format::Jpos => jpos::export(dialect, rules, switches, options.lenient),
        Format::Moov => moov::export(dialect, rules, switches, options.lenient),
    }
}

/// The text of a file. One that is not UTF-8 is taken as Latin-1, which older XML files are in.
fn read(path: &Path) -> Result<String, Problem> {
    let failed = |error: std::io::Error| Problem::new(format!("cannot be read: {error}"));
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Problem::new("the file is too large")
            .expected(format!("at most {FILE_BYTES_MAX} bytes")));
    }
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect()))
}
