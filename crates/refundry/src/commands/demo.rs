//! `refundry demo`: a scripted day in one process, over real TCP on this machine.
//!
//! Nothing is staged but the people: the issuer and the terminals are simulators, the switch is the one that `refundry serve`
//! runs, on a ledger of its own in a temporary folder. The issuer keeps books of its own, which at the end must say the same as
//! the ledger.

mod money;
mod play;
mod script;
mod stage;
mod table;
mod till;
mod words;

use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use self::play::{Balance, Player};
use self::script::Script;
use self::stage::Stage;
use self::table::{Summary, Table};
use crate::Failure;
use crate::cli::DemoArgs;

/// The day that is played unless another one is asked for.
const DAY: &str = include_str!("../../../../fixtures/demo/day.toml");

/// What messages call it.
const DAY_NAME: &str = "fixtures/demo/day.toml";

/// Plays the day and prints what was sent, what came back and why. Then stays up until SIGINT or SIGTERM, or ends.
///
/// # Errors
/// [`Failure::Usage`] for the script; [`Failure::Failed`] where something cannot be started or a signal ends the day early;
/// with `--exit`, [`Failure::Found`] where not everything came out as scripted.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let file = args.script.as_deref().unwrap_or(Path::new(DAY_NAME));
    let text = match &args.script {
        Some(file) => std::fs::read_to_string(file).map_err(|error| {
            Failure::Usage(format!("{}: cannot be read: {error}", file.display()))
        })?,
        None => DAY.to_owned(),
    };
    let script = Script::parse(&text, file).map_err(Failure::Usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))?;
    runtime.block_on(demo(&script, file, args.exit))
}

/// The signals that end a program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        let (terminate, interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        Ok(Signals {
            terminate,
            interrupt,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn demo(script: &Script, file: &Path, exit: bool) -> Result<(), Failure> {
    let signals = Signals::listen();
    let mut signals =
        signals.map_err(|error| Failure::Failed(format!("cannot wait for signals: {error}")))?;
    let mut player = Player::new(script, Stage::open().await?);
    let mut table = Table::new(script);
    let outcome = tokio::select! {
        good = day(script, file, &mut player, &mut table) => good,
        () = signals.any() => Err(Failure::Failed("stopped before the day was over".to_owned())),
    };
    let outcome = match outcome {
        Ok(_) if !exit => match invite(&player.stage, &mut table) {
            Ok(()) => {
                signals.any().await;
                Ok(())
            }
            Err(error) => Err(Failure::output(&error)),
        },
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Found),
        Err(failure) => Err(failure),
    };
    let closed = player.stage.close().await;
    outcome.and(closed)
}

/// Plays all steps; whether everything came out as scripted.
async fn day(
    script: &Script,
    file: &Path,
    player: &mut Player<'_>,
    table: &mut Table<'_>,
) -> Result<bool, Failure> {
    let began = Instant::now();
    let written = |error: std::io::Error| Failure::output(&error);
    table
        .head(player.stage.issuer.address(), player.stage.address())
        .map_err(written)?;
    let place = file.file_name().unwrap_or_default().to_string_lossy();
    let (mut steps, mut as_scripted) = (0, 0);
    for chapter in &script.chapters {
        table.chapter(&chapter.title).map_err(written)?;
        player.begin_chapter();
        for step in &chapter.steps {
            let outcome = player.step(step).await?;
            table.step(step, &outcome, &place).map_err(written)?;
            steps += 1;
            as_scripted += usize::from(outcome.faults.is_empty());
        }
    }
    let balances = player.balances().await?;
    let (sent, relayed) = (player.sent, player.stage.seen().len());
    let summary = Summary {
        steps,
        as_scripted,
        balances: &balances,
        sent,
        relayed,
        took: began.elapsed(),
    };
    table.summary(&summary).map_err(written)?;
    Ok(as_scripted == steps && balances.iter().all(Balance::agrees))
}

/// Says what can be looked at while it stays up.
fn invite(stage: &Stage, table: &mut Table<'_>) -> std::io::Result<()> {
    let address = |address: Option<std::net::SocketAddr>| {
        address
            .map(|address| address.to_string())
            .unwrap_or_default()
    };
    let (terminals, admin) = (address(stage.address()), address(stage.admin()));
    let folder = stage.data_dir().display();
    table.note(&format!(
        "\nStill running, until Ctrl-C:\n\
         \x20 terminals  {terminals} (iso87-ascii, len2)\n\
         \x20 metrics    http://{admin}/metrics\n\
         \x20 health     http://{admin}/health/ready\n\
         \x20 ledger     {folder}\n\
         Try:\n\
         \x20 curl http://{admin}/metrics\n\
         \x20 refundry ledger export --format csv --data-dir {folder}"
    ))
}
