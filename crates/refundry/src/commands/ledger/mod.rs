//! `refundry ledger`: what is on record. A running node is asked over its socket; else the files are read. A database is read
//! whether or not nodes run.

mod show;
mod whole;

use std::io::{self, Write};

use ledger_postgres::Migrated;
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
    let (head, problems, problem_count) = match place.database() {
        Some(options) => {
            let mut progress = Progress::new("looked at");
            let report = ledger_postgres::verify(&options, &mut |done| progress.at(done))
                .map_err(|error| place::database_failure(&error))?;
            let head = summary(
                report.transactions,
                report.originals,
                report.movements,
                report.advices,
            );
            (head, report.problems, report.problem_count)
        }
        None => {
            let report =
                verify(&place.data_dir).map_err(|error| Failure::Failed(error.to_string()))?;
            let head = format!(
                "{}; {} journal records to replay; {}",
                summary(
                    report.transactions,
                    report.originals,
                    report.movements,
                    report.advices
                ),
                report.journal_records,
                if report.clean_stop {
                    "stopped cleanly"
                } else {
                    "not stopped cleanly"
                }
            );
            (head, report.problems, report.problem_count)
        }
    };
    print_report(&head, &problems, problem_count).map_err(|error| Failure::output(&error))?;
    match problem_count {
        0 => Ok(()),
        _ => Err(Failure::Found),
    }
}

fn summary(transactions: u64, originals: u64, movements: u64, advices: u64) -> String {
    format!(
        "{transactions} transactions, of these {originals} originals and {movements} movements; {advices} advices open or dead"
    )
}

fn print_report(head: &str, problems: &[String], problem_count: u64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{head}")?;
    for problem in problems {
        writeln!(out, "{problem}")?;
    }
    match problem_count {
        0 => writeln!(out, "every balance is what its movements make it"),
        count => writeln!(out, "{count} problems"),
    }
}
