//! A thread of a load: waits for its connections, sends what is due, and keeps the time.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::time::{ClockId, clock_gettime};

use super::check::Answers;
use super::connection::{Connection, Moment, Tools};
use super::mix::Deed;
use super::report::Report;
use super::{LoadConfig, Shared};
use crate::{MESSAGE_BYTES_MAX, clock};

/// Bytes that one read may bring.
const READ_BYTES: usize = 256 * 1024;

/// Connections that are served a round.
const EVENTS_MAX: usize = 1_024;

/// How long a thread waits at most, so that it sees in time that it was stopped.
const WAIT_MAX: u64 = 50_000_000;

/// A second, and a millisecond, in nanoseconds.
const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// What is due within so many nanoseconds leaves together: a load that wakes for each message takes the processor that it measures.
const TOGETHER: u64 = 100_000;

/// How long DE7 is used before the calendar is asked again, in nanoseconds.
const WIRE_TIME_AGE_MAX: u64 = 100_000_000;

pub(super) struct Worker {
    connections: Vec<Connection>,
    /// Whether the system tells when the socket takes bytes again.
    watched: Vec<bool>,
    epoll: OwnedFd,
    tools: Tools,
    times: Times,
    pace: Option<Pace>,
    shared: Arc<Shared>,
    /// What the sums in `shared` hold of this thread.
    told: [u64; 3],
}

/// When what begins and ends, in nanoseconds of the monotonic clock.
#[derive(Copy, Clone, Debug)]
struct Times {
    /// The end of the warm-up, and what processor time the thread had used then.
    measured_from: u64,
    used_before: Option<Duration>,
    /// The end of the sending.
    end: u64,
    used_after: Option<Duration>,
    patience: u64,
    wire: u32,
    wire_read: u64,
}

/// When messages are due.
#[derive(Copy, Clone, Debug)]
struct Pace {
    begin: u64,
    /// Nanoseconds from one message of this thread to the next.
    interval: f64,
    /// Messages that were due so far.
    number: u64,
    /// Nothing is sent before.
    not_before: u64,
}

impl Pace {
    /// When the next message is due.
    fn next(&self) -> u64 {
        self.begin + (self.number as f64 * self.interval) as u64
    }

    /// When it is sent.
    fn next_sent(&self) -> u64 {
        self.next().max(self.not_before)
    }
}

impl Worker {
    /// `number`: which of the threads; `begin`: when all of them begin.
    pub(super) fn new(
        config: &LoadConfig,
        connections: Vec<Connection>,
        (number, begin): (usize, u64),
        shared: Arc<Shared>,
    ) -> io::Result<Worker> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (place, connection) in connections.iter().enumerate() {
            let data = epoll::EventData::new_u64(place as u64);
            epoll::add(&epoll, &connection.stream, data, epoll::EventFlags::IN)?;
        }
        let first = connections.first().ok_or(io::ErrorKind::InvalidInput)?;
        let tools = Tools {
            mix: config.mix,
            allowed: config.allowed.clone(),
            originals: config.originals,
            keep_answers: config.mix.has(Deed::Repeat),
            is_closed_loop: config.rate.is_none(),
            random: Rng::new(),
            answers: Answers::new(config.spec, first.templates()),
            report: Report::new(),
            codes: Vec::new(),
            // A frame that is not there in full, and what comes behind it.
            input: vec![0; READ_BYTES + 2 * MESSAGE_BYTES_MAX],
            output: Vec::with_capacity(READ_BYTES),
            latency_sum: 0,
        };
        let share = connections.len() as f64 / config.connections as f64;
        let measured_from = begin + nanoseconds(config.warm_up);
        Ok(Worker {
            watched: vec![false; connections.len()],
            epoll,
            tools,
            times: Times {
                measured_from,
                used_before: None,
                end: measured_from + nanoseconds(config.duration),
                used_after: None,
                patience: nanoseconds(config.patience),
                wire: clock::Moment::now().month_to_second_number(),
                wire_read: begin,
            },
            pace: config.rate.map(|rate| {
                let interval = SECOND as f64 / (rate * share);
                Pace {
                    // The threads' messages fall between each other.
                    begin: begin + (interval * number as f64 / config.threads as f64) as u64,
                    interval,
                    number: 0,
                    not_before: 0,
                }
            }),
            connections,
            shared,
            told: [0; 3],
        })
    }

    /// Sends and receives until the end.
    pub(super) fn run(mut self) -> Report {
        if self.pace.is_none() {
            let moment = self.times.at(now());
            for place in 0..self.connections.len() {
                self.send(place, moment);
            }
        }
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            let moment = self.turn();
            if self.is_over(moment.now) {
                break;
            }
            self.send_due(moment);
            if let Err(error) = self.wait(&mut events) {
                self.tools
                    .report
                    .broken
                    .push(format!("cannot wait: {error}"));
                break;
            }
            for event in events.drain(..) {
                self.serve(event);
            }
            self.tell();
        }
        self.finish()
    }

    /// Sees what time it is.
    fn turn(&mut self) -> Moment {
        let now = now();
        if self.shared.stopped.load(Ordering::Relaxed) {
            self.times.end = self.times.end.min(now);
            self.times.measured_from = self.times.measured_from.min(self.times.end);
        }
        if now.saturating_sub(self.times.wire_read) > WIRE_TIME_AGE_MAX {
            self.times.wire = clock::Moment::now().month_to_second_number();
            self.times.wire_read = now;
        }
        let moment = self.times.at(now);
        if now >= self.times.measured_from && self.times.used_before.is_none() {
            self.times.used_before = Some(thread_time());
        }
        if !moment.sends && self.times.used_after.is_none() {
            self.times.used_after = Some(thread_time());
        }
        moment
    }

    /// Everything is answered, or the time for it is over.
    fn is_over(&self, now: u64) -> bool {
        let mut open = self
            .connections
            .iter()
            .filter(|connection| connection.is_open);
        if now < self.times.end {
            return open.next().is_none();
        }
        now >= self.times.end.saturating_add(self.times.patience)
            || open.all(|connection| connection.in_flight() == 0)
    }

    /// Hands out the messages whose time has come, in turn over the connections.
    fn send_due(&mut self, moment: Moment) {
        let Some(pace) = &mut self.pace else { return };
        if !moment.sends || moment.now < pace.next_sent() {
            return;
        }
        pace.not_before = moment.now + TOGETHER;
        let count = self.connections.len();
        let first = pace.number;
        while pace.next() <= moment.now {
            let place = (pace.number % count as u64) as usize;
            self.connections[place].backlog.push_back(pace.next());
            pace.number += 1;
        }
        let touched = (pace.number - first).min(count as u64);
        for step in 0..touched {
            self.send(((first + step) % count as u64) as usize, moment);
        }
    }

    /// Waits for readiness, or until something is due.
    fn wait(&self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let now = now();
        let mut until = now + WAIT_MAX;
        for time in [self.times.measured_from, self.times.end] {
            if time > now {
                until = until.min(time);
            }
        }
        if let Some(pace) = self.pace.filter(|_| now < self.times.end) {
            until = until.min(pace.next_sent());
        }
        let left = until.saturating_sub(now);
        let passing = |result: Result<usize, rustix::io::Errno>| match result {
            Err(rustix::io::Errno::INTR) => Ok(0),
            other => other,
        };
        let mut timeout = left;
        if !left.is_multiple_of(MILLISECOND) {
            // Waiting for events is counted in whole milliseconds, waiting for descriptors is not.
            let mut descriptors = [PollFd::new(&self.epoll, PollFlags::IN)];
            passing(poll(&mut descriptors, Some(&timespec(left))))?;
            timeout = 0;
        }
        passing(epoll::wait(
            &self.epoll,
            spare_capacity(events),
            Some(&timespec(timeout)),
        ))?;
        Ok(())
    }

    fn serve(&mut self, event: epoll::Event) {
        let (place, flags) = (event.data.u64() as usize, event.flags);
        let Some(connection) = self.connections.get_mut(place) else {
            return;
        };
        if !connection.is_open {
            return;
        }
        let mut served = Ok(());
        if flags.contains(epoll::EventFlags::OUT) {
            served = connection.flush();
        }
        let mut moment = None;
        if served.is_ok() && flags != epoll::EventFlags::OUT {
            let times = &self.times;
            served = connection.receive(&mut self.tools, || *moment.insert(times.at(now())));
        }
        let times = &self.times;
        let moment = moment.unwrap_or_else(|| times.at(now()));
        match served {
            Ok(()) => self.send(place, moment),
            Err(error) => self.close(place, &error),
        }
    }

    fn send(&mut self, place: usize, moment: Moment) {
        let connection = &mut self.connections[place];
        if let Err(error) = connection.send(moment, &mut self.tools) {
            return self.close(place, &error);
        }
        let blocked = connection.is_blocked();
        if blocked != self.watched[place] {
            let flags = match blocked {
                true => epoll::EventFlags::IN | epoll::EventFlags::OUT,
                false => epoll::EventFlags::IN,
            };
            let data = epoll::EventData::new_u64(place as u64);
            match epoll::modify(&self.epoll, &connection.stream, data, flags) {
                Ok(()) => self.watched[place] = blocked,
                Err(error) => self.close(place, &error.into()),
            }
        }
    }

    fn close(&mut self, place: usize, error: &io::Error) {
        let connection = &mut self.connections[place];
        if !connection.is_open {
            return;
        }
        connection.is_open = false;
        // It would be ready to be read for ever.
        let _ = epoll::delete(&self.epoll, &connection.stream);
        let broken = &mut self.tools.report.broken;
        if broken.len() < super::report::DESCRIBED_MAX {
            broken.push(format!("a connection ended: {error}"));
        }
    }

    /// Lets others see how far it is: adds what came since it was told last.
    fn tell(&mut self) {
        let report = &self.tools.report;
        let come = [report.answered, report.unexpected, self.tools.latency_sum];
        let sums = [
            &self.shared.answered,
            &self.shared.unexpected,
            &self.shared.latency,
        ];
        for (sum, (now, told)) in sums.into_iter().zip(come.into_iter().zip(self.told)) {
            sum.fetch_add(now.wrapping_sub(told), Ordering::Relaxed);
        }
        self.told = come;
    }

    fn finish(mut self) -> Report {
        for connection in &mut self.connections {
            connection.give_up(&mut self.tools);
        }
        self.tell();
        let used_after = self.times.used_after.unwrap_or_else(thread_time);
        let used_before = self.times.used_before.unwrap_or(used_after);
        let mut report = self.tools.report;
        report.measured =
            Duration::from_nanos(self.times.end.saturating_sub(self.times.measured_from));
        report.processor = used_after.saturating_sub(used_before);
        for (code, number) in self.tools.codes {
            let code = code.escape_ascii().to_string();
            *report.codes.entry(code).or_default() += number;
        }
        report
    }
}

impl Times {
    fn at(&self, now: u64) -> Moment {
        let sends = now < self.end;
        Moment {
            now,
            wire: self.wire,
            sends,
            measures: sends && now >= self.measured_from,
        }
    }
}

/// Nanoseconds of the monotonic clock.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    (time.tv_sec as u64)
        .wrapping_mul(SECOND)
        .wrapping_add(time.tv_nsec as u64)
}

/// What this thread has used so far.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos())
        .unwrap_or(u64::MAX / 4)
        .min(u64::MAX / 4)
}

fn timespec(nanoseconds: u64) -> Timespec {
    Timespec {
        tv_sec: (nanoseconds / SECOND) as i64,
        tv_nsec: (nanoseconds % SECOND) as _,
    }
}
