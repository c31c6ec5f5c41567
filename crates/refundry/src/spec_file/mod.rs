//! Dialects from spec files, as listeners and issuers speak them: read, looked at whether the switch can do with them, kept.
//!
//! A file that lacks what the switch needs, or asks for something that it does not do, is refused when the configuration is read,
//! not by the first message.

mod fit;
mod rules;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use iso8583_codec::Spec;
use iso8583_codec::model::Dialect;
use iso8583_spec::{Options, Problem, Rules};
use refund_ledger::Reason;
use switch_core::{Classes, Naming, Switches};

use crate::config::ResponseCode;
use rules::FileRules;

/// Which side of the switch speaks a dialect.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Side {
    /// Terminals and gateways.
    Listener,
    /// An issuer.
    Issuer,
}

/// A spec file in use.
pub struct SpecFile {
    path: PathBuf,
    /// As the file has it.
    dialect: Dialect,
    rules: Rules,
    switches: iso8583_spec::Switches,
    /// As the switch reads and writes it.
    spec: Spec,
    /// What a listener goes by.
    for_listener: Switches,
    /// Answer codes of a listener by reason.
    answers: Vec<(Reason, ResponseCode)>,
    /// Codes of an issuer that approve; empty where the file does not say.
    approved: Vec<ResponseCode>,
    warnings: Vec<String>,
}

/// The files that are in use, for the life of the process: connections, links and messages refer to them.
static IN_USE: Mutex<Vec<&'static SpecFile>> = Mutex::new(Vec::new());

/// Reads the spec file at `path` for one side of the switch.
///
/// What is read stays in memory for the life of the process (a file that says the same as before is kept once): a dialect is part
/// of the configuration, which does not change while a node runs.
///
/// # Errors
/// Everything that is wrong with the file, or that the switch cannot do: a line each, with the file and, where there is one, the
/// place.
pub fn load(path: &Path, side: Side) -> Result<&'static SpecFile, Vec<String>> {
    let loaded = iso8583_spec::load(path, Options::default()).map_err(|error| {
        let problems = error.problems.iter();
        problems
            .map(|problem| placed(&error.file, problem))
            .collect::<Vec<_>>()
    })?;
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    let same = in_use.iter().copied().find(|known| {
        known.path == path
            && known.dialect == loaded.dialect
            && known.rules == loaded.rules
            && known.switches == loaded.switches
    });
    let file = match same {
        Some(known) => known,
        None => {
            let file = SpecFile::new(path, loaded).map_err(|problems| of_file(path, problems))?;
            let file: &'static SpecFile = Box::leak(Box::new(file));
            in_use.push(file);
            file
        }
    };
    let problems = fit::problems(file, side);
    match problems.is_empty() {
        true => Ok(file),
        false => Err(of_file(path, problems)),
    }
}

fn placed(file: &Path, problem: &Problem) -> String {
    let file = file.display();
    match problem.place {
        Some(place) => format!("{file}:{}:{}: {problem}", place.line, place.column),
        None => format!("{file}: {problem}"),
    }
}

fn of_file(path: &Path, problems: Vec<String>) -> Vec<String> {
    let name = |problem| format!("{}: {problem}", path.display());
    problems.into_iter().map(name).collect()
}

impl SpecFile {
    fn new(path: &Path, loaded: iso8583_spec::Loaded) -> Result<SpecFile, Vec<String>> {
        let mut problems = Vec::new();
        let mut tightened = loaded.dialect.clone();
        fit::tighten(&mut tightened);
        let spec = Spec::compile(&tightened).map_err(|error| vec![error.to_string()])?;
        let switches = &loaded.switches;
        let classes = classes(switches).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let naming = naming(switches).unwrap_or_else(|problem| {
            problems.push(problem);
            Naming::default()
        });
        let answers = answers(switches, &mut problems);
        let approved = approved(switches, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let rules = (!loaded.rules.is_empty()).then(|| FileRules::boxed(loaded.rules.clone()));
        let warnings = loaded.warnings.iter();
        Ok(SpecFile {
            path: path.to_owned(),
            warnings: warnings.map(|problem| placed(path, problem)).collect(),
            for_listener: Switches {
                classes,
                naming,
                rules,
            },
            spec,
            answers,
            approved,
            dialect: loaded.dialect,
            rules: loaded.rules,
            switches: loaded.switches,
        })
    }

    /// Where it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How messages are written.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Rules, classes and names of originals for a listener.
    #[must_use]
    pub fn for_listener(&self) -> &Switches {
        &self.for_listener
    }

    /// The requests that an issuer of this dialect has; `None` where the file does not say.
    #[must_use]
    pub fn classes(&self) -> Option<&Classes> {
        self.for_listener.classes.as_ref()
    }

    /// Answer codes of a listener by reason, where they are not those of the built-in dialects.
    #[must_use]
    pub fn answers(&self) -> &[(Reason, ResponseCode)] {
        &self.answers
    }

    /// Codes of an issuer that approve; empty where the file does not say.
    #[must_use]
    pub fn approved(&self) -> &[ResponseCode] {
        &self.approved
    }

    /// What works, but less comfortably than it could on this side.
    #[must_use]
    pub fn warnings(&self, side: Side) -> Vec<String> {
        let less = of_file(&self.path, fit::warnings(self, side));
        self.warnings.iter().cloned().chain(less).collect()
    }
}

impl fmt::Debug for SpecFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpecFile({})", self.path.display())
    }
}

fn classes(switches: &iso8583_spec::Switches) -> Result<Option<Classes>, String> {
    if switches.classes.is_empty() {
        return Ok(None);
    }
    let rows = switches.classes.iter().flat_map(|(class, kinds)| {
        kinds
            .iter()
            .map(|kind| (class.as_str(), kind.mti.as_str(), kind.processing.as_str()))
    });
    Classes::new(rows)
        .map(Some)
        .map_err(|problem| format!("switch.classes: {problem}"))
}

/// What names an original: only elements 90 and 37 can.
fn naming(switches: &iso8583_spec::Switches) -> Result<Naming, String> {
    let mut order = Vec::new();
    for reference in &switches.original {
        match reference.fields.as_slice() {
            [field] if field == "90" || field == "37" => order.push(field.as_str()),
            fields => {
                return Err(format!(
                    "switch.original: {} cannot name an original in this version; expected 90 (original data elements) or 37 (retrieval reference number)",
                    fields.join(" with ")
                ));
            }
        }
    }
    order.dedup();
    match order.as_slice() {
        [] | ["90", "37"] => Ok(Naming::DataThenRrn),
        ["90"] => Ok(Naming::Data),
        ["37", "90"] => Ok(Naming::RrnThenData),
        ["37"] => Ok(Naming::Rrn),
        _ => Err("switch.original: expected 90 and 37 once each".to_owned()),
    }
}

fn answers(
    switches: &iso8583_spec::Switches,
    problems: &mut Vec<String>,
) -> Vec<(Reason, ResponseCode)> {
    let mut answers = Vec::new();
    for (name, code) in &switches.answers {
        match answer(name, code) {
            Ok(Some(answer)) => answers.push(answer),
            Ok(None) => {}
            Err(problem) => problems.push(format!("switch.answers.{name}: {problem}")),
        }
    }
    answers
}

/// A reason with its code; nothing where that is what it always has.
fn answer(name: &str, text: &str) -> Result<Option<(Reason, ResponseCode)>, String> {
    let reason = Reason::by_name(name).ok_or_else(|| "is no reason of this version".to_owned())?;
    let code = code(text)?;
    let always = switch_core::iso87_code(reason);
    match reason {
        Reason::Approved | Reason::Declined if *code.as_bytes() == always => Ok(None),
        Reason::Approved | Reason::Declined => Err(format!(
            "{code:?} cannot be had: issuers' answers pass as they are, and the switch approves with 00"
        )),
        _ if code.as_bytes() == b"00" && !name.starts_with("reversal_") => Err(
            "only reasons that begin with `reversal_` may become 00; this one would tell the terminal that money moved"
                .to_owned(),
        ),
        _ => Ok(Some((reason, code))),
    }
}

fn approved(switches: &iso8583_spec::Switches, problems: &mut Vec<String>) -> Vec<ResponseCode> {
    let mut approved = Vec::new();
    for text in &switches.approved {
        match code(text) {
            Ok(code) => approved.push(code),
            Err(problem) => problems.push(format!("switch.approved: {problem}")),
        }
    }
    approved
}

fn code(text: &str) -> Result<ResponseCode, String> {
    ResponseCode::parse(text)
        .ok_or_else(|| format!("{text:?} is no answer code here; expected two letters or digits"))
}
