//! Transactions for people and programs: one original with its movements, or all of them.

use std::io::{self, Write};

use refund_ledger::store::Store;
use serde_json::Value;
use switch_core::Civil;

use crate::Failure;
use crate::cli::{ExportFormat, LedgerShowArgs};
use crate::commands::place::{Emit, Place};
use crate::engine::Question;
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

pub(super) fn show(args: &LedgerShowArgs) -> Result<(), Failure> {
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
    ledger_view::check(&question).map_err(Failure::Usage)?;
    let place = Place::of(&args.place)?;
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

/// All transactions, one a line, or as whole records.
pub(super) fn export(place: &Place, format: ExportFormat) -> Result<(), Failure> {
    if format == ExportFormat::Full {
        return super::whole::export(place);
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    if format == ExportFormat::Csv {
        writeln!(out, "{}", COLUMNS.join(",")).map_err(|error| Failure::output(&error))?;
    }
    ask(place, &Question::Export, &mut |line| match format {
        ExportFormat::Json | ExportFormat::Full => writeln!(out, "{line}"),
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
    let on_ledger = |store: &dyn Store, emit: &mut Emit<'_>| {
        ledger_view::answer(store, &place.realms, question, emit)
    };
    // A database answers as well beside the node.
    match place.database() {
        Some(_) => place.ask_ledger(&on_ledger, line),
        None => place.ask(question, &on_ledger, line),
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
