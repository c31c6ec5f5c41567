//! `refundry serve`: the switch, until it is told to stop.

use std::io::Write;

use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;
use crate::cli::ServeArgs;
use crate::config::Config;
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
    let cannot_listen = |error| Failure::Failed(format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot_listen)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot_listen)?;
    let switch = Switch::start(config, Some(metrics))
        .await
        .map_err(|error| not_started(&error))?;
    announce(&switch).map_err(|error| Failure::output(&error))?;
    let failed = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = switch.failed() => true,
    };
    tracing::info!("stopping");
    let stopped = switch.stop().await;
    if failed {
        return Err(Failure::Failed(
            "the ledger could not make changes durable; look at the disk, then start again"
                .to_owned(),
        ));
    }
    stopped.map_err(|error| Failure::Failed(error.to_string()))?;
    tracing::info!("stopped");
    Ok(())
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
