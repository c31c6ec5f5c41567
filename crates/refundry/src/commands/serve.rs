//! `refundry serve`: the switch, until it is told to stop.

use std::io::Write;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Failure;
use crate::cli::ServeArgs;
use crate::config::{Config, Engine};
use crate::engine::{Switch, SwitchError};
use crate::metrics::Metrics;

/// Runs a node until SIGTERM or SIGINT, then drains it. Prints the addresses that it listens on.
///
/// # Errors
/// [`Failure::Usage`] for the configuration and the keys, [`Failure::Failed`] for what fails while running.
pub fn run(args: &ServeArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(|error| Failure::Usage(error.to_string()))?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    // For health, metrics and questions; terminals and issuers are served on a thread of their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))?;
    runtime.block_on(serve(&config))
}

async fn serve(config: &Config) -> Result<(), Failure> {
    let metrics = Metrics::install().map_err(|error| Failure::Failed(error.to_string()))?;
    let mut stop = Stop::listen()
        .map_err(|error| Failure::Failed(format!("cannot wait for signals: {error}")))?;
    let started = tokio::select! {
        started = Switch::start(config, Some(metrics.clone())) => started,
        () = stop.asked() => return Ok(()),
    };
    let mut switch = started.map_err(|error| not_started(&error))?;
    announce(&switch).map_err(|error| Failure::output(&error))?;
    let config = switch.bound(config);
    loop {
        tokio::select! {
            () = stop.asked() => break,
            () = switch.failed() => {}
        }
        if !switch.is_taken_over() {
            let why = switch
                .failure()
                .map_or_else(String::new, |error| format!(": {error}"));
            // What could be said and closed is.
            let _ = switch.stop().await;
            let place = match config.ledger.engine {
                Engine::Embedded => "disk",
                Engine::Postgres(_) => "database",
            };
            return Err(Failure::Failed(format!(
                "the ledger could not make changes durable{why}; look at the {place}, then start again"
            )));
        }
        tracing::warn!("another node has taken over from this one: the ledger is opened anew");
        let opened = tokio::select! {
            opened = switch.open_ledger_again(&config) => opened,
            () = stop.asked() => break,
        };
        let ledger = opened.map_err(|error| not_started(&error))?;
        // Its successor needs its addresses; what it still had is another node's.
        let _ = switch.stop().await;
        let started = Switch::start_on(ledger, &config, Some(metrics.clone())).await;
        switch = started.map_err(|error| not_started(&error))?;
        tracing::info!("serving again");
    }
    tracing::info!("stopping");
    let stopped = switch.stop().await;
    stopped.map_err(|error| Failure::Failed(error.to_string()))?;
    tracing::info!("stopped");
    Ok(())
}

/// The signals that ask for a stop.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> std::io::Result<Stop> {
        Ok(Stop {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn not_started(error: &SwitchError) -> Failure {
    match error.is_usage() {
        true => Failure::Usage(error.to_string()),
        false => Failure::Failed(error.to_string()),
    }
}

fn announce(switch: &Switch) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for (name, address) in switch.listeners() {
        tracing::info!(listener = %name, %address, "listening");
        writeln!(out, "listening {name} {address}")?;
    }
    writeln!(out, "admin http://{}", switch.admin())?;
    out.flush()
}
