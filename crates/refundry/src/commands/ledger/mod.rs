//! `refundry ledger`: what is on record. A running node is asked over its socket; else the files are read. A database is read
//! whether or not nodes run.

mod show;
mod whole;

use std::io::{self, Write};

use ledger_postgres::Migrated;
use refund_ledger::store::Report;
use refund_ledger::store::embedded::verify;

use self::whole::Progress;
use super::place::{self, Place};
use crate::Failure;
use crate::cli::{LedgerMigrateArgs, LedgerQuestion};
use crate::config::{Config, Engine};
use crate::engine::postgres_options;

/// Runs the command.
///
/// # Errors
/// [`Failure::Usage`] for the configuration, [`Failure::Failed`] where the ledger cannot be read or does not hold what was
/// asked for, [`Failure::Found`] where `verify` found something wrong.
pub fn run(question: &LedgerQuestion) -> Result<(), Failure> {
    match question {
        LedgerQuestion::Show(args) => show::show(args),
        LedgerQuestion::Export(args) => show::export(&Place::of(&args.place)?, args.format),
        LedgerQuestion::Verify(args) => check(&Place::of(&args.place)?),
        LedgerQuestion::Migrate(args) => migrate(args),
        LedgerQuestion::Import(args) => whole::import(args),
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

fn check(place: &Place) -> Result<(), Failure> {
    let (report, remark) = match place.database() {
        Some(options) => {
            let mut progress = Progress::new("looked at");
            let verified = ledger_postgres::verify(&options, &mut |done| progress.at(done))
                .map_err(|error| place::database_failure(&error))?;
            let anew = verified.made_anew;
            let others = verified.report.transactions.saturating_sub(anew);
            let remark =
                format!("{anew} made anew from their events, {others} by their movements alone");
            (verified.report, remark)
        }
        None => {
            place.may_open()?;
            let verified =
                verify(&place.data_dir).map_err(|error| Failure::Failed(error.to_string()))?;
            let stopped = match verified.clean_stop {
                true => "stopped cleanly",
                false => "not stopped cleanly",
            };
            let records = verified.journal_records;
            let remark = format!("{records} journal records to replay; {stopped}");
            (verified.report, remark)
        }
    };
    print_report(&report, &remark).map_err(|error| Failure::output(&error))?;
    match report.problem_count {
        0 => Ok(()),
        _ => Err(Failure::Found),
    }
}

fn print_report(report: &Report, remark: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} transactions, of these {} originals and {} movements; {} advices open or dead; {remark}",
        report.transactions, report.originals, report.movements, report.advices
    )?;
    for problem in &report.problems {
        writeln!(out, "{problem}")?;
    }
    match report.problem_count {
        0 => writeln!(out, "every balance is what its movements make it"),
        count => writeln!(out, "{count} problems"),
    }
}
