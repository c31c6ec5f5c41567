//! `refundry ledger`: what is on record. A running node is asked over its socket; else the files are read. A database is read
//! whether or not nodes run.

use std::io::{self, Write};

use ledger_postgres::Migrated;
use refund_ledger::store::Store;
use refund_ledger::store::embedded::{Report, verify};
use serde_json::Value;
use switch_core::Civil;

use super::place::{self, Place};
use crate::Failure;
use crate::cli::{ExportFormat, LedgerMigrateArgs, LedgerQuestion, LedgerShowArgs};
use crate::config::{Config, Engine};
use crate::engine::{Question, postgres_options};
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
        LedgerQuestion::Migrate(args) => migrate(args),
    }
}

/// Makes the tables in the database that the configuration names.
fn migrate(args: &LedgerMigrateArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(|error| Failure::Usage(error.to_string()))?;
    let Engine::Postgres(postgres) = &config.ledger.engine else {
        return Err(Failure::Usage(format!(
            "{}: ledger.engine is \"embedded\", which needs no tables; expected \"postgres\"",
            args.config.display()
        )));
    };
    let options = postgres_options(&config, postgres);
    let done =
        ledger_postgres::migrate(&options).map_err(|error| place::database_failure(&error))?;
    let Migrated { found, made } = done;
    let mut out = io::stdout().lock();
    let said = match found {
        found if found == made => {
            writeln!(out, "the ledger's tables are of version {made} already")
        }
        0 => writeln!(out, "the ledger's tables are made, in version {made}"),
        found => writeln!(
            out,
            "the ledger's tables are migrated from version {found} to {made}"
        ),
    };
    said.map_err(|error| Failure::output(&error))
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

fn ask(
    place: &Place,
    question: &Question,
    line: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<(), Failure> {
    let on_ledger = |store: &dyn Store, emit: &mut place::Emit<'_>| {
        ledger_view::answer(store, &place.realms, question, emit)
    };
    // A database answers as well beside the node.
    match place.database() {
        Some(_) => place.ask_ledger(&on_ledger, line),
        None => place.ask(question, &on_ledger, line),
    }
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
