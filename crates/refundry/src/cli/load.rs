//! What can be asked of `refundry load`.

use std::time::Duration;

use clap::Args;
use iso8583_codec::Spec;
use iso8583_framing::Framing;
use simulators::load::Mix;

use crate::config::{Address, parse_duration};
use crate::presets;

/// `refundry load`.
#[derive(Args, Debug)]
#[command(after_help = "\
Every lane, as many a connection as the window is wide, is a terminal with one message in flight and books of its own. Without
--rate a lane sends when it was answered; with it, messages are due at fixed times, and latency counts from then.
An answer that is not the right one is described, and the exit status is 1.

Kinds of a mix: purchase; refund of a part of a purchase, up to its amount; excess, a refund of more than is left; void and
reversal of a purchase; repeat of the last message. What cannot be done yet is a purchase instead.

Examples:
  refundry load --connect 127.0.0.1:8583 --connections 16 --window 64 --duration 10s
  refundry load --connect 127.0.0.1:8583 --rate 20000 --mix purchase=50,refund=30,excess=5,repeat=15 --json
  refundry load --connect 127.0.0.1:8583 --pid switch=$(pgrep -f 'refundry serve')")]
pub struct LoadArgs {
    /// The node: where terminals connect to
    #[arg(long, value_name = "ADDR", value_parser = Address::parse)]
    pub connect: Address,
    /// The dialect: iso87-ascii or iso87-binary
    #[arg(long, value_name = "NAME", default_value = "iso87-ascii", value_parser = presets::dialect)]
    pub dialect: &'static Spec,
    /// The frame header: len2, len4-ascii, nac or another preset, or columns such as 'preset = "nac", tpdu = "6000030000"'
    #[arg(long, value_name = "NAME", default_value = "len2", value_parser = presets::framing)]
    pub framing: Framing,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub connections: usize,
    /// Messages in flight a connection, at most
    #[arg(long, value_name = "W", default_value_t = 64)]
    pub window: usize,
    /// How long it is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// How long the load goes on before it is measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub warm_up: Duration,
    /// Messages a second over all connections, whatever is answered [default: as many as are answered]
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// What is sent how often, as weights
    #[arg(long, value_name = "KIND=N,..", default_value_t = Mix::default())]
    pub mix: Mix,
    /// Response codes (DE39) that are no fault where another was right, such as 96 under overload
    #[arg(long, value_name = "CODE,..", value_delimiter = ',', value_parser = response_code)]
    pub allow: Vec<[u8; 2]>,
    /// Purchases that a lane remembers; what comes after names one of them at random
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub originals: usize,
    /// Threads that send and receive
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// The card of every purchase, a test number that the node has a route for [default: a published Visa test number]
    #[arg(long, value_name = "PAN")]
    pub card: Option<String>,
    /// The currency of every amount, ISO 4217 numeric
    #[arg(long, value_name = "CODE", default_value = "978", value_parser = currency)]
    pub currency: String,
    /// How long answers are waited for at the end
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub patience: Duration,
    /// Report the processor time of this process too; may be given several times
    #[arg(long, value_name = "[NAME=]PID", value_parser = process)]
    pub pid: Vec<(String, u32)>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

fn response_code(text: &str) -> Result<[u8; 2], String> {
    let code = <[u8; 2]>::try_from(text.as_bytes()).ok();
    code.filter(|code| code.iter().all(u8::is_ascii_alphanumeric))
        .ok_or_else(|| "expected two characters such as 96".to_owned())
}

fn currency(text: &str) -> Result<String, String> {
    let is_code = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_code
        .then(|| text.to_owned())
        .ok_or_else(|| "expected three digits such as 978".to_owned())
}

fn process(text: &str) -> Result<(String, u32), String> {
    let (name, pid) = text.split_once('=').unwrap_or((text, text));
    let pid = pid
        .parse()
        .map_err(|_| "expected a process id such as 4711 or switch=4711".to_owned())?;
    Ok((name.to_owned(), pid))
}
