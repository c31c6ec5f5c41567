//! The whole way over loopback TCP: load, switch with its durable ledger, simulated issuer, and back, beside a plain relay on the same way.
//! All four share the machine; relay and switch take turns.
//!
//! `cargo bench -p refundry-benches --bench end_to_end -- --rounds 5 --seconds 4 --connections 16 --window 64 --json result.json`
//!
//! `--connections 1,16,256,1024,4096,10000 --window 1` shows how rate, latency, memory and processor time change with the number of
//! connections. `--overload` finds the highest rate and then drives the switch at twice as much.
//!
//! `--window 1` shows latency with one message in flight, `--rate N` that of an open loop at N messages a second, `--folder DIR`
//! where the ledger is.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use refundry_benches::end_to_end::{self, Options};
use refundry_benches::programs::play_role;
use refundry_benches::{over_connections, overload};

fn main() -> ExitCode {
    if let Some(status) = play_role() {
        return status;
    }
    let done = options(std::env::args().skip(1)).and_then(|(what, options)| what(&options));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What is measured.
type Measurement = fn(&Options) -> Result<(), Box<dyn Error>>;

fn options(
    mut arguments: impl Iterator<Item = String>,
) -> Result<(Measurement, Options), Box<dyn Error>> {
    let mut options = Options::default();
    let mut what: Measurement = end_to_end::run;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} takes a value"));
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse()?,
            "--connections" => {
                let numbers = value()?;
                let numbers = numbers.split(',').map(str::parse);
                options.connections = numbers.collect::<Result<_, _>>()?;
                if options.connections.len() > 1 {
                    what = over_connections::run;
                }
            }
            "--overload" => what = overload::run,
            "--window" => options.window = value()?.parse()?,
            "--links" => options.links = value()?.parse()?,
            "--seconds" => options.duration = Duration::try_from_secs_f64(value()?.parse()?)?,
            "--warm-up" => options.warm_up = Duration::try_from_secs_f64(value()?.parse()?)?,
            "--rate" => options.rate = Some(value()?.parse()?),
            "--mix" => options.mix = value()?.parse()?,
            "--dialect" => options.dialect = value()?,
            "--folder" => options.folder = Some(value()?.into()),
            "--json" => options.json = Some(value()?),
            "--test" => {
                (options.rounds, options.connections, options.window) = (1, vec![2], 4);
                options.duration = Duration::from_millis(200);
                options.warm_up = Duration::from_millis(50);
            }
            // What cargo itself passes to every bench.
            "--bench" => {}
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok((what, options))
}
