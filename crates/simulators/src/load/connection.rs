//! One connection of a load: its lanes, and the bytes that are under way.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use fastrand::Rng;
use iso8583_framing::{Deframer, Step};

use super::LoadConfig;
use super::books::{Due, Lane};
use super::check::Answers;
use super::mix::{Deed, Mix};
use super::report::{DESCRIBED_MAX, Report};
use super::template::{Common, Form, Template};
use crate::MESSAGE_BYTES_MAX;

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    deframer: Deframer,
    templates: [Template; Form::ALL.len()],
    lanes: Vec<Lane>,
    /// Numbers of the lanes with nothing in flight.
    free: Vec<usize>,
    /// Number of the first lane, counted over all connections.
    first_lane: usize,
    /// When messages were due for which no lane was free, in nanoseconds.
    pub(super) backlog: VecDeque<u64>,
    /// What came of a frame that is not there in full.
    unread: Vec<u8>,
    /// What the socket would not take yet.
    unsent: Vec<u8>,
    pub(super) is_open: bool,
}

/// What all connections of a thread use.
pub(super) struct Tools {
    pub(super) mix: Mix,
    pub(super) allowed: Vec<[u8; 2]>,
    pub(super) originals: usize,
    pub(super) keep_answers: bool,
    pub(super) is_closed_loop: bool,
    pub(super) random: Rng,
    pub(super) answers: Answers,
    pub(super) report: Report,
    /// Answers by DE39.
    pub(super) codes: Vec<([u8; 2], u64)>,
    /// What one read may bring, behind what was left of the last one.
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    /// Sum of all latencies in nanoseconds.
    pub(super) latency_sum: u64,
}

/// The time, as a thread of the load sees it.
#[derive(Copy, Clone, Debug)]
pub(super) struct Moment {
    /// Nanoseconds of the monotonic clock.
    pub(super) now: u64,
    /// DE7.
    pub(super) wire: u32,
    /// Messages may be sent.
    pub(super) sends: bool,
    /// What comes now is measured.
    pub(super) measures: bool,
}

impl Connection {
    /// `number`: which connection it is; `mark`: the first letters of the run's names. The error says what is not possible.
    pub(super) fn new(
        stream: TcpStream,
        number: usize,
        mark: [u8; 2],
        config: &LoadConfig,
    ) -> Result<Connection, String> {
        let letters = String::from_utf8_lossy(&mark);
        let merchant = format!("LOAD{letters}{number:09}");
        let common = Common {
            card: config.card.pan(),
            merchant: &merchant,
            currency: &config.currency,
        };
        let make = |form| Template::new(form, &common, config.spec, config.framing);
        let first_lane = number * config.window;
        let lanes: Vec<Lane> = (0..config.window)
            .map(|place| {
                let terminal = format!("{letters}{:06}", first_lane + place);
                let reference = format!("{letters}{place:04}");
                let stan = first_stan(first_lane + place, config);
                Lane::new(digits(&terminal), digits(&reference), stan)
            })
            .collect();
        Ok(Connection {
            stream,
            deframer: Deframer::new(config.framing, MESSAGE_BYTES_MAX),
            templates: [make(Form::Sale)?, make(Form::About)?, make(Form::Reversal)?],
            free: (0..config.window).rev().collect(),
            lanes,
            first_lane,
            backlog: VecDeque::new(),
            unread: Vec::new(),
            unsent: Vec::new(),
            is_open: true,
        })
    }

    /// For the shapes that all connections share.
    pub(super) fn templates(&self) -> &[Template; Form::ALL.len()] {
        &self.templates
    }

    pub(super) fn in_flight(&self) -> usize {
        self.lanes.len() - self.free.len()
    }

    /// Sends what is due, as far as lanes are free.
    pub(super) fn send(&mut self, moment: Moment, tools: &mut Tools) -> io::Result<()> {
        tools.output.clear();
        while moment.sends && self.is_open {
            let Some(&place) = self.free.last() else {
                break;
            };
            let due = match tools.is_closed_loop {
                true => moment.now,
                false => match self.backlog.pop_front() {
                    Some(due) => due,
                    None => break,
                },
            };
            self.free.pop();
            let lane = &mut self.lanes[place];
            lane.prepare(&tools.mix, &mut tools.random, moment.wire, &self.templates);
            lane.sent = Some(due);
            tools.report.sent += 1;
            tools.report.deeds[lane.due().deed as usize] += 1;
            tools.output.extend_from_slice(&lane.frame);
        }
        let output = std::mem::take(&mut tools.output);
        let written = self.write(&output);
        tools.output = output;
        written
    }

    /// Writes this behind whatever waits.
    fn write(&mut self, output: &[u8]) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(output);
            return self.flush();
        }
        let written = write_some(&mut self.stream, output)?;
        self.unsent.extend_from_slice(&output[written..]);
        Ok(())
    }

    /// Writes what waits, as far as the socket takes it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let written = write_some(&mut self.stream, &self.unsent)?;
        self.unsent.drain(..written);
        Ok(())
    }

    /// Whether the socket would not take everything.
    pub(super) fn is_blocked(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads once, and books the answers. `clock` is asked when the bytes are there.
    pub(super) fn receive(
        &mut self,
        tools: &mut Tools,
        clock: impl FnOnce() -> Moment,
    ) -> io::Result<()> {
        let kept = self.unread.len();
        let mut input = std::mem::take(&mut tools.input);
        input[..kept].copy_from_slice(&self.unread);
        self.unread.clear();
        let read = match self.stream.read(&mut input[kept..]) {
            Ok(0) => Err(io::Error::other("the peer closed the connection")),
            Err(error) if is_passing(&error) => Ok(0),
            read => read,
        };
        let result = read.and_then(|read| {
            let moment = clock();
            let bytes = &input[..kept + read];
            let used = self.take_answers(bytes, moment, tools)?;
            self.unread.extend_from_slice(&bytes[used..]);
            Ok(())
        });
        tools.input = input;
        result
    }

    fn take_answers(
        &mut self,
        bytes: &[u8],
        moment: Moment,
        tools: &mut Tools,
    ) -> io::Result<usize> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            at += match self.deframer.next(rest).map_err(io::Error::other)? {
                Step::Incomplete { .. } => return Ok(at),
                Step::Message { body, consumed } => {
                    self.take(body, moment, tools);
                    consumed
                }
                Step::Rebuilt { consumed, .. } | Step::Oversize { consumed, .. } => {
                    tools.unexpected("an answer that is no message of this framing".to_owned());
                    consumed
                }
                Step::KeepAlive { consumed } | Step::Skipped { consumed } => consumed,
            };
        }
    }

    /// Books an answer.
    fn take(&mut self, body: &[u8], moment: Moment, tools: &mut Tools) {
        tools.report.answered += 1;
        let Some(answer) = tools.answers.read(body) else {
            return tools.unexpected("an answer that cannot be read".to_owned());
        };
        let code = answer.code();
        let waiting = lane_number(answer.terminal())
            .and_then(|number| number.checked_sub(self.first_lane))
            .and_then(|place| Some((place, self.lanes.get_mut(place)?)))
            .filter(|(_, lane)| lane.sent.is_some());
        let Some((place, lane)) = waiting else {
            tools.count(code);
            return tools.unexpected("an answer that nobody waits for".to_owned());
        };
        let template = &self.templates[lane.form as usize];
        let request = lane.frame.get(template.body()).unwrap_or_default();
        let echoes = answer.echoes(lane.form, request, template.shape());
        tools.count(code);
        if echoes == Err(11) {
            // Late or twice: the lane's own answer is still to come.
            let waits = described(lane);
            return tools.unexpected(format!("an answer with another STAN came to {waits}"));
        }
        let latency = tools.latency(lane, moment);
        self.free.push(place);
        let verdict = verdict(lane, echoes, code, body);
        let is_allowed = verdict.is_err() && echoes.is_ok() && tools.allowed.contains(&code);
        if moment.measures {
            tools.report.measure(latency, is_allowed);
        }
        match verdict {
            Ok(()) => lane.settle(body, tools.keep_answers, tools.originals),
            Err(_) if is_allowed => {
                tools.report.allowed += 1;
                lane.forget();
            }
            Err(what) => {
                tools.unexpected(format!("{}: {what}", described(lane)));
                lane.forget();
            }
        }
    }

    /// What is still in flight was never answered.
    pub(super) fn give_up(&mut self, tools: &mut Tools) {
        for lane in &self.lanes {
            if lane.sent.is_some() {
                tools.report.unanswered += 1;
                let text = format!("{} was never answered", described(lane));
                tools.unexpected(text);
            }
        }
        tools.report.not_sent += self.backlog.len() as u64;
    }
}

/// What is wrong with the answer to what is in flight.
fn verdict(lane: &Lane, echoes: Result<(), u8>, code: [u8; 2], body: &[u8]) -> Result<(), String> {
    let Due { deed, expected } = lane.due();
    match echoes {
        Err(0) => Err("its answer has the wrong MTI".to_owned()),
        Err(de) => Err(format!("DE{de} of its answer is not as it was sent")),
        Ok(()) if deed == Deed::Repeat && !lane.answered_before(body) => Err(format!(
            "its answer, DE39 {}, is not the one that the first got",
            code.escape_ascii()
        )),
        Ok(()) if deed != Deed::Repeat && code != expected => Err(format!(
            "DE39 of its answer is {}, not {}",
            code.escape_ascii(),
            expected.escape_ascii()
        )),
        Ok(()) => Ok(()),
    }
}

impl Tools {
    pub(super) fn unexpected(&mut self, text: String) {
        self.report.unexpected += 1;
        if self.report.wrong.len() < DESCRIBED_MAX {
            self.report.wrong.push(text);
        }
    }

    fn count(&mut self, code: [u8; 2]) {
        match self.codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, number)) => *number += 1,
            None => self.codes.push((code, 1)),
        }
    }

    /// How long the answer to what is in flight took, in nanoseconds.
    fn latency(&mut self, lane: &mut Lane, moment: Moment) -> u64 {
        let latency = moment
            .now
            .saturating_sub(lane.sent.take().unwrap_or(moment.now));
        self.latency_sum = self.latency_sum.wrapping_add(latency);
        latency
    }
}

/// A message by what it is and its names, without card data.
fn described(lane: &Lane) -> String {
    let values = lane.values();
    let repeat = lane.due().deed == Deed::Repeat;
    format!(
        "{}{} with STAN {:06}, DE7 {:010} of terminal {}",
        lane.due().deed.name(),
        if repeat { " of the message" } else { "" },
        values.stan,
        values.time,
        values.terminal.escape_ascii(),
    )
}

/// The number in a terminal's name.
fn lane_number(terminal: &[u8]) -> Option<usize> {
    let digits = terminal.get(2..)?;
    digits.iter().try_fold(0, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        Some(number * 10 + usize::from(digit))
    })
}

/// The lanes' STANs begin far from each other, so that even somebody who does not look at the terminal can tell them apart.
fn first_stan(lane: usize, config: &LoadConfig) -> u32 {
    let lanes = (config.connections * config.window) as u64;
    // At most 999,999.
    (lane as u64 * 999_999 / lanes.max(1)) as u32
}

fn digits<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [b'0'; N];
    for (byte, from) in bytes.iter_mut().zip(text.bytes()) {
        *byte = from;
    }
    bytes
}

fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(some) => written += some,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
