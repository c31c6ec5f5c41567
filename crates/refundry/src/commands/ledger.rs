//! `refundry ledger`: what is on record. A running node is asked over its socket; else the files are read.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use refund_ledger::Name;
use refund_ledger::store::embedded::{EmbeddedOptions, EmbeddedStore, Report, verify};
use serde_json::Value;

use crate::Failure;
use crate::cli::{ExportFormat, LedgerPlace, LedgerQuestion, LedgerShowArgs};
use crate::clock::Civil;
use crate::config::Config;
use crate::engine::{Question, ask_node};
use crate::ledger_view;

/// Columns of an export as CSV, in order.
const COLUMNS: [&str; 31] = [
    "key",
    "kind",
    "status",
    "reason",
    "response_code",
    "realm",
    "merchant",
    "terminal",
    "mti",
    "processing_code",
    "amount",
    "currency",
    "stan",
    "transmission_time",
    "rrn",
    "approval_code",
    "link",
    "issuer_stan",
    "issuer_time",
    "original",
    "approved",
    "settled",
    "pending",
    "taken",
    "left",
    "counted",
    "void",
    "created",
    "decided",
    "moved",
    "version",
];

/// Runs the command.
///
/// # Errors
/// [`Failure::Usage`] for the configuration, [`Failure::Failed`] where the ledger cannot be read or does not hold what was
/// asked for, [`Failure::Found`] where `verify` found something wrong.
pub fn run(question: &LedgerQuestion) -> Result<(), Failure> {
    match question {
        LedgerQuestion::Show(args) => show(args),
        LedgerQuestion::Export(args) => export(&Place::of(&args.place)?, args.format),
        LedgerQuestion::Verify(args) => verify_files(&Place::of(&args.place)?),
    }
}

/// A data folder, and the realms that its keys may be in.
struct Place {
    data_dir: PathBuf,
    realms: Vec<Name>,
}

impl Place {
    fn of(place: &LedgerPlace) -> Result<Place, Failure> {
        let (data_dir, realms) = match (&place.config, &place.data_dir) {
            (Some(file), _) => {
                let config =
                    Config::load(file).map_err(|error| Failure::Usage(error.to_string()))?;
                let realms = config
                    .listen
                    .iter()
                    .map(|listen| Name::new(&listen.realm))
                    .collect();
                (config.node.data_dir, realms)
            }
            (None, Some(dir)) => (dir.clone(), Vec::new()),
            (None, None) => {
                return Err(Failure::Usage(
                    "give --config FILE or --data-dir DIR".to_owned(),
                ));
            }
        };
        if !data_dir.is_dir() {
            return Err(Failure::Failed(format!(
                "{}: there is no such folder, so no ledger",
                data_dir.display()
            )));
        }
        Ok(Place { data_dir, realms })
    }
}

fn show(args: &LedgerShowArgs) -> Result<(), Failure> {
    let place = Place::of(&args.place)?;
    let question = match (&args.key, &args.rrn, &args.merchant) {
        (Some(key), ..) => Question::ByKey { key: key.clone() },
        (None, Some(rrn), Some(merchant)) => Question::ByRrn {
            rrn: rrn.clone(),
            merchant: merchant.clone(),
        },
        _ => {
            return Err(Failure::Usage(
                "give --rrn RRN with --merchant DE42, or --key KEY".to_owned(),
            ));
        }
    };
    let mut out = io::stdout().lock();
    ask(
        &place,
        &question,
        &mut |line| match (args.json, serde_json::from_str::<Value>(line)) {
            (false, Ok(value)) => print_transaction(&mut out, &value),
            _ => writeln!(out, "{line}"),
        },
    )
}

fn export(place: &Place, format: ExportFormat) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if format == ExportFormat::Csv {
        writeln!(out, "{}", COLUMNS.join(",")).map_err(|error| Failure::output(&error))?;
    }
    ask(place, &Question::Export, &mut |line| match format {
        ExportFormat::Json => writeln!(out, "{line}"),
        ExportFormat::Csv => {
            let value: Value = serde_json::from_str(line)?;
            let cells: Vec<String> = COLUMNS
                .iter()
                .map(|column| csv_cell(&value[*column]))
                .collect();
            writeln!(out, "{}", cells.join(","))
        }
    })?;
    out.flush().map_err(|error| Failure::output(&error))
}

/// A running node is asked; without one the files are opened. A line with an error is a failure.
fn ask(
    place: &Place,
    question: &Question,
    line: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut problem = None;
    let mut seen = |text: &str| match error_of(text) {
        Some(error) => {
            problem = Some(error);
            Ok(())
        }
        None => line(text),
    };
    let asked =
        ask_node(&place.data_dir, question, &mut seen).map_err(|error| Failure::output(&error))?;
    if asked.is_none() {
        let store = open(&place.data_dir)?;
        let answered =
            ledger_view::answer(&store, &place.realms, question, &mut |text| seen(&text));
        store
            .close()
            .map_err(|error| Failure::Failed(error.to_string()))?;
        answered.map_err(Failure::Failed)?;
    }
    problem.map_or(Ok(()), |error| Err(Failure::Failed(error)))
}

fn error_of(line: &str) -> Option<String> {
    let prefix = line.starts_with(r#"{"error""#);
    let value: Value = prefix.then(|| serde_json::from_str(line).ok()).flatten()?;
    value["error"].as_str().map(str::to_owned)
}

/// The files, as they are: nothing is dropped for its age.
fn open(data_dir: &Path) -> Result<EmbeddedStore, Failure> {
    if !data_dir.join("journal").is_dir() {
        return Err(Failure::Failed(format!(
            "{}: there is no ledger in this folder",
            data_dir.display()
        )));
    }
    let options = EmbeddedOptions::new(data_dir.to_owned(), u64::MAX);
    EmbeddedStore::open(options, Arc::new(|_| {}))
        .map_err(|error| Failure::Failed(error.to_string()))
}

fn verify_files(place: &Place) -> Result<(), Failure> {
    let report = verify(&place.data_dir).map_err(|error| Failure::Failed(error.to_string()))?;
    print_report(&report).map_err(|error| Failure::output(&error))?;
    if report.problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::Found)
    }
}

fn print_report(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} transactions, of these {} originals and {} movements; {} advices open or dead; {} journal records to replay; {}",
        report.transactions,
        report.originals,
        report.movements,
        report.advices,
        report.journal_records,
        if report.clean_stop {
            "stopped cleanly"
        } else {
            "not stopped cleanly"
        },
    )?;
    for problem in &report.problems {
        writeln!(out, "{problem}")?;
    }
    match report.problem_count {
        0 => writeln!(out, "every balance is what its movements make it"),
        count => writeln!(out, "{count} problems"),
    }
}

/// An original in full, its movements in a line each.
fn print_transaction(out: &mut impl Write, value: &Value) -> io::Result<()> {
    let text = |name: &str| match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let when = |name: &str| match value[name].as_u64() {
        Some(0) | None => "-".to_owned(),
        Some(milliseconds) => Civil::from_unix_seconds(milliseconds / 1000).to_string(),
    };
    let code = value["response_code"]
        .as_str()
        .map(|code| format!(" ({code}, {})", text("reason")))
        .unwrap_or_default();
    if value.get("approved").is_none() {
        return writeln!(
            out,
            "  {:<12} {:<10}{code} amount {} counted {} stan {} terminal {} came {} key {}",
            text("kind"),
            text("status"),
            text("amount"),
            text("counted"),
            text("stan"),
            text("terminal"),
            when("created"),
            text("key"),
        );
    }
    writeln!(out, "{} {}{code}", text("kind"), text("status"))?;
    writeln!(out, "  key       {}", text("key"))?;
    writeln!(
        out,
        "  merchant  {} (realm {}), terminal {}",
        text("merchant"),
        text("realm"),
        text("terminal")
    )?;
    writeln!(
        out,
        "  message   {} {} stan {} transmitted {} rrn {} approval code {}",
        text("mti"),
        text("processing_code"),
        text("stan"),
        text("transmission_time"),
        text("rrn"),
        text("approval_code"),
    )?;
    writeln!(
        out,
        "  issuer    {} stan {} transmitted {}",
        text("link"),
        text("issuer_stan"),
        text("issuer_time"),
    )?;
    writeln!(
        out,
        "  times     came {} decided {} changed {}",
        when("created"),
        when("decided"),
        when("moved")
    )?;
    writeln!(
        out,
        "  amounts   asked {} approved {} settled {} pending {} taken {} left {} (minor units of currency {})",
        text("amount"),
        text("approved"),
        text("settled"),
        text("pending"),
        text("taken"),
        text("left"),
        text("currency"),
    )
}

fn csv_cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}
