//! The whole way over loopback TCP: terminals, switch with its durable ledger, simulated issuer, and back. A first figure, not
//! a load generator: terminals and issuer share the machine with the switch.
//!
//! `cargo bench -p refundry-benches --bench end_to_end -- --connections 16 --window 64 --seconds 5`
//!
//! Each of `connections` x `window` lanes repeats: a purchase of 100.00, four refunds of 25.00, one of 0.01 that must be refused.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use iso8583_codec::{Draft, Mti, Spec};
use iso8583_framing::{Deframer, Framing, Step};
use refundry::config::Config;
use refundry::engine::Switch;
use simulators::issuer::{Issuer, IssuerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

const STEPS: u8 = 6;

#[derive(Copy, Clone)]
struct Options {
    connections: usize,
    window: usize,
    seconds: f64,
}

/// One terminal's sequence of messages.
#[derive(Clone, Default)]
struct Lane {
    step: u8,
    purchase_stan: u32,
    purchase_time: u64,
    sent: Option<Instant>,
}

#[derive(Default)]
struct Tally {
    micros: Vec<u32>,
    unexpected: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let tally = runtime.block_on(run(options))?;
    report(options, tally)
}

fn options(arguments: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        connections: 16,
        window: 64,
        seconds: 5.0,
    };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} takes a value"));
        match argument.as_str() {
            "--connections" => options.connections = value()?.parse()?,
            "--window" => options.window = value()?.parse()?,
            "--seconds" => options.seconds = value()?.parse()?,
            "--test" => {
                options = Options {
                    connections: 2,
                    window: 4,
                    seconds: 0.2,
                }
            }
            // What cargo itself passes to every bench.
            "--bench" => {}
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(options)
}

async fn run(options: Options) -> Result<Tally, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut issuer_config = IssuerConfig::new(Spec::iso87_ascii(), Framing::LEN2);
    issuer_config.messages_max = 0;
    let issuer = Issuer::start(issuer_config).await?;
    let text = format!(
        "[node]\ndata_dir = \"data\"\n[[listen]]\nname = \"pos\"\naddress = \"127.0.0.1:0\"\n[[issuer]]\nname = \"bank\"\n\
         address = \"{}\"\nbins = [\"4\"]\nconnections = 2\n[admin]\naddress = \"127.0.0.1:0\"\n",
        issuer.address()
    );
    let file = folder.path().join("refundry.toml");
    std::fs::write(&file, text)?;
    let switch = Switch::start(&Config::load(&file)?, None).await?;
    while !switch.is_ready() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let address = switch.listeners().first().ok_or("no listener")?.1;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for number in 0..options.connections {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        clients.push(tokio::spawn(client(
            stream,
            number,
            options.window,
            stop.clone(),
        )));
    }
    tokio::time::sleep(Duration::from_secs_f64(options.seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Tally::default();
    for client in clients {
        let tally = client.await??;
        all.micros.extend(tally.micros);
        all.unexpected += tally.unexpected;
    }
    switch.stop().await?;
    issuer.stop().await;
    Ok(all)
}

async fn client(
    mut stream: TcpStream,
    number: usize,
    window: usize,
    stop: Arc<AtomicBool>,
) -> Result<Tally, std::io::Error> {
    let mut lanes = vec![Lane::default(); window];
    let mut waiting: HashMap<u32, usize> = HashMap::new();
    let mut tally = Tally::default();
    let (mut input, mut output) = (
        BytesMut::with_capacity(1 << 16),
        BytesMut::with_capacity(1 << 16),
    );
    let mut deframer = Deframer::new(Framing::LEN2, 8192);
    let mut stan = 0;
    for (lane, state) in lanes.iter_mut().enumerate() {
        stan += 1;
        write_next(state, number, stan, &mut output);
        waiting.insert(stan, lane);
    }
    while !waiting.is_empty() {
        stream.write_all(&output).await?;
        output.clear();
        if stream.read_buf(&mut input).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let mut at = 0;
        while let Ok(Step::Message { body, consumed }) = deframer.next(&input[at..]) {
            at += consumed;
            let (answered, code) = read_answer(body);
            let Some(lane) = waiting.remove(&answered) else {
                continue;
            };
            let state = &mut lanes[lane];
            let expected: &[u8] = if state.step == STEPS - 1 {
                b"21"
            } else {
                b"00"
            };
            tally.unexpected += u64::from(code != expected);
            tally.micros.push(
                state
                    .sent
                    .map_or(0, |sent| sent.elapsed().as_micros() as u32),
            );
            state.step = (state.step + 1) % STEPS;
            if !stop.load(Ordering::Relaxed) {
                stan = stan % 999_999 + 1;
                write_next(state, number, stan, &mut output);
                waiting.insert(stan, lane);
            }
        }
        let _ = input.split_to(at);
    }
    Ok(tally)
}

fn read_answer(body: &[u8]) -> (u32, [u8; 2]) {
    let Ok(message) = Spec::iso87_ascii().decode(body) else {
        return (0, *b"??");
    };
    let stan = message.stan().ok().flatten().map_or(0, |stan| stan.value());
    (
        stan,
        message.response_code().ok().flatten().unwrap_or(*b"--"),
    )
}

fn write_next(lane: &mut Lane, terminal: usize, stan: u32, out: &mut BytesMut) {
    // A time of day that goes on with the STAN: what counts is that keys are new and spread as in life.
    let second = u64::from(stan) % 86_400;
    let time = 1_122_000_000 + second / 3600 * 10_000 + second / 60 % 60 * 100 + second % 60;
    let stan_text = format!("{stan:06}");
    let time_text = format!("{time:010}");
    let terminal = format!("T{terminal:07}");
    let (code, amount) = match lane.step {
        0 => ("000000", "000000010000"),
        step if step == STEPS - 1 => ("200000", "000000000001"),
        _ => ("200000", "000000002500"),
    };
    if lane.step == 0 {
        (lane.purchase_stan, lane.purchase_time) = (stan, time);
    }
    let original = format!(
        "0200{:06}{:010}{}",
        lane.purchase_stan,
        lane.purchase_time,
        "0".repeat(22)
    );
    let mut draft = Draft::new(Mti::literal("0200"));
    draft
        .set(2, b"4761739001010119")
        .set(3, code.as_bytes())
        .set(4, amount.as_bytes());
    draft
        .set(7, time_text.as_bytes())
        .set(11, stan_text.as_bytes())
        .set(12, b"103000")
        .set(13, b"1122");
    draft
        .set(22, b"051")
        .set(25, b"00")
        .set(41, terminal.as_bytes())
        .set(42, b"MERCHANT0000001")
        .set(49, b"840");
    if lane.step > 0 {
        draft.set(90, original.as_bytes());
    }
    let mark = Framing::LEN2.begin(out);
    let written = draft.encode(Spec::iso87_ascii(), out);
    debug_assert!(written.is_ok());
    let framed = Framing::LEN2.finish(out, mark);
    debug_assert!(framed.is_ok());
    lane.sent = Some(Instant::now());
}

fn report(options: Options, mut tally: Tally) -> Result<(), Box<dyn Error>> {
    tally.micros.sort_unstable();
    let count = tally.micros.len();
    let at = |share: f64| {
        tally
            .micros
            .get(((count as f64 * share) as usize).min(count.saturating_sub(1)))
            .copied()
    };
    println!(
        "end to end, {} connections, window {}: {:.0} transactions/s, p50 {} us, p99 {} us, max {} us, {} unexpected",
        options.connections,
        options.window,
        count as f64 / options.seconds,
        at(0.5).unwrap_or(0),
        at(0.99).unwrap_or(0),
        at(1.0).unwrap_or(0),
        tally.unexpected,
    );
    if tally.unexpected > 0 || count == 0 {
        return Err(format!(
            "{} of {count} answers were not as expected",
            tally.unexpected
        )
        .into());
    }
    Ok(())
}
