//! `refundry simulate`: the simulators as programs of their own.

use std::io::{self, Write};
use std::time::Duration;

use iso8583_codec::Spec;
use simulators::issuer::{Action, Counts, Issuer, IssuerConfig, Rule};
use simulators::processor;
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;
use crate::cli::IssuerArgs;
use crate::spec_file::{self, Side, SpecFile};

/// Runs the issuer simulator until SIGINT or SIGTERM. The first line of the output says where it listens; the last ones say
/// what it did.
///
/// # Errors
/// [`Failure::Usage`] for a spec file that cannot be had, [`Failure::Failed`] where it cannot listen or write its journal.
pub fn issuer(args: &IssuerArgs) -> Result<(), Failure> {
    let dialect = dialect(args)?;
    let mut builder = match args.plain {
        // There is little to do a message: handing work from thread to thread would cost more.
        true => tokio::runtime::Builder::new_current_thread(),
        false => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    let counts = runtime.block_on(serve(args, dialect))?;
    print(&summary(&counts, processor::own_time()))?;
    match counts.journal_errors {
        0 => Ok(()),
        errors => Err(Failure::Failed(format!(
            "the journal failed {errors} times; what it lacks was not answered"
        ))),
    }
}

async fn serve(args: &IssuerArgs, dialect: &'static Spec) -> Result<Counts, Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("cannot wait for signals: {error}"));
    // Before the first line is printed: whoever waits for it may send a signal at once.
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let issuer = Issuer::start(config(args, dialect))
        .await
        .map_err(|error| {
            let journal = args
                .journal
                .as_ref()
                .map(|file| format!(" with journal {}", file.display()));
            Failure::Failed(format!(
                "cannot listen on {}{}: {error}",
                args.listen,
                journal.unwrap_or_default()
            ))
        })?;
    print(&format!("listening on {}\n", issuer.address()))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(issuer.stop().await.counts())
}

/// The dialect of the file where one is given, seen as the switch sees it on a link.
fn dialect(args: &IssuerArgs) -> Result<&'static Spec, Failure> {
    match &args.spec {
        None => Ok(args.dialect),
        Some(file) => spec_file::load(file, Side::Issuer)
            .map(SpecFile::spec)
            .map_err(|problems| Failure::Usage(problems.join("\n"))),
    }
}

fn config(args: &IssuerArgs, dialect: &'static Spec) -> IssuerConfig {
    let mut config = IssuerConfig::new(dialect, args.framing);
    config.listen = args.listen.to_string();
    config.rules.clone_from(&args.rules);
    config.rules.extend(args.delay.map(|delay| Rule {
        conditions: Vec::new(),
        actions: vec![Action::Delay(delay)],
        times: None,
    }));
    config.journal.clone_from(&args.journal);
    // The summary needs the counts only, and a trial may run for days.
    config.messages_max = 0;
    config.plain = args.plain;
    config
}

fn summary(counts: &Counts, used: Duration) -> String {
    let rows = [
        ("received", counts.received),
        ("repeats", counts.repeats),
        ("approved", counts.approved),
        ("declined", counts.declined),
        ("answered", counts.answered),
        ("malformed", counts.malformed),
    ];
    let mut text: String = rows
        .iter()
        .map(|(name, count)| format!("{name:<9} {count}\n"))
        .collect();
    let seconds = used.as_secs_f64();
    let each = seconds * 1e6 / counts.received.max(1) as f64;
    text.push_str(&format!(
        "processor {seconds:.2} s, {each:.3} us a message\n"
    ));
    text
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::output(&error))
}
