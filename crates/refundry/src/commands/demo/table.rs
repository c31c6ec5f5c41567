//! The day as a table for people.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::Duration;

use super::money::Money;
use super::play::{Balance, Line, Outcome};
use super::script::{Script, Step};
use super::words::words;

/// `0200 → 0210`.
const MESSAGES_WIDTH: usize = 11;

/// Spaces between columns.
const GAP: &str = "  ";

/// What the switch says on its own, below the step that made it.
const ADVICE: &str = "└ the switch tells the issuer";

/// Where an answer is not of a reason: its longest text.
const SAME_ANSWER: &str = "00 the same answer, byte for byte";

/// How something is shown on a terminal.
#[derive(Copy, Clone)]
enum Ink {
    Plain,
    Bold,
    Faint,
    Green,
    Red,
}

/// Writes the table, row by row, as the day goes on.
pub(super) struct Table<'s> {
    out: io::Stdout,
    colours: bool,
    money: &'s Money,
    what_width: usize,
    amount_width: usize,
    answer_width: usize,
    number: usize,
}

/// What the whole day came to.
pub(super) struct Summary<'d> {
    pub(super) steps: usize,
    pub(super) as_scripted: usize,
    pub(super) balances: &'d [Balance],
    /// Messages from terminals.
    pub(super) sent: usize,
    /// Messages that reached the issuer, but for network messages.
    pub(super) relayed: usize,
    pub(super) took: Duration,
}

impl<'s> Table<'s> {
    pub(super) fn new(script: &'s Script) -> Table<'s> {
        let out = io::stdout();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let whats = script.steps().map(|step| width(&step.what));
        let answers = script
            .steps()
            .filter_map(|step| step.reason)
            .map(|reason| width(words(reason)) + 3);
        let highest = script
            .steps()
            .filter_map(|step| step.left)
            .max()
            .unwrap_or(0);
        Table {
            colours: out.is_terminal() && !plain,
            out,
            money: &script.money,
            what_width: whats.max().unwrap_or(0).max(width(ADVICE)),
            amount_width: width(&script.money.show(highest as i64)).max(8),
            answer_width: answers.max().unwrap_or(0).max(width(SAME_ANSWER)),
            number: 0,
        }
    }

    /// What runs, and the head of the table.
    pub(super) fn head(
        &mut self,
        issuer: SocketAddr,
        switch: Option<SocketAddr>,
    ) -> io::Result<()> {
        let switch = switch
            .map(|address| address.to_string())
            .unwrap_or_default();
        let picture = format!("terminals ── TCP ──> switch {switch} ── TCP ──> issuer {issuer}");
        self.say(Ink::Plain, &picture)?;
        let note = "Terminals and issuer are simulated; the switch and its ledger are those of `refundry serve`.";
        self.say(Ink::Faint, note)?;
        self.note("")?;
        let amount = format!(
            "{:>width$}",
            self.money.letters(),
            width = self.amount_width
        );
        let left = format!("{:>width$}", "left", width = self.amount_width);
        let cells = [
            "  #",
            &pad("what happens", self.what_width),
            &amount,
            &pad("messages", MESSAGES_WIDTH),
        ];
        let line = format!(
            "{}{GAP}{}{GAP}{left}",
            cells.join(GAP),
            pad("answer (DE39)", self.answer_width)
        );
        self.say(Ink::Faint, &line)
    }

    /// The heading of a chapter.
    pub(super) fn chapter(&mut self, title: &str) -> io::Result<()> {
        self.note("")?;
        self.say(Ink::Bold, title)
    }

    /// A step that was played. `place` is where the script says it.
    pub(super) fn step(&mut self, step: &Step, outcome: &Outcome, place: &str) -> io::Result<()> {
        self.number += 1;
        let mark = if outcome.faults.is_empty() {
            self.paint(Ink::Green, "✓")
        } else {
            self.paint(Ink::Red, "✗")
        };
        let mut lines = outcome.lines.iter();
        if let Some(first) = lines.next() {
            let left = outcome
                .left
                .map(|left| self.money.show(left as i64))
                .unwrap_or_default();
            let row = self.row(&format!("{:>3}", self.number), &step.what, first);
            let text = format!(
                "{row}{GAP}{left:>width$}{GAP}{mark}",
                width = self.amount_width
            );
            self.say(Ink::Plain, &text)?;
        }
        for line in lines {
            let row = self.row("   ", "", line);
            self.say(Ink::Plain, &row)?;
        }
        for line in &outcome.advices {
            let row = self.row("   ", ADVICE, line);
            self.say(Ink::Faint, &row)?;
        }
        for fault in &outcome.faults {
            self.say(Ink::Red, &format!("     {fault} ({place}:{})", step.line))?;
        }
        self.out.flush()
    }

    fn row(&self, number: &str, what: &str, line: &Line) -> String {
        let amount = line
            .amount
            .map(|amount| self.money.show(amount as i64))
            .unwrap_or_default();
        let amount = format!("{amount:>width$}", width = self.amount_width);
        let what = pad(what, self.what_width);
        let cells = [
            number,
            &what,
            &amount,
            &pad(&line.messages, MESSAGES_WIDTH),
            &pad(&line.answer, self.answer_width),
        ];
        cells.join(GAP)
    }

    /// What it all came to.
    pub(super) fn summary(&mut self, summary: &Summary<'_>) -> io::Result<()> {
        let Summary {
            steps,
            as_scripted,
            balances,
            sent,
            relayed,
            took,
        } = summary;
        self.note("")?;
        self.say(Ink::Bold, "What the cards have paid, by the books of both")?;
        let head = format!(
            "     {}{GAP}{:>12}{GAP}{:>12}",
            pad("card", self.what_width),
            "issuer",
            "ledger"
        );
        self.say(Ink::Faint, &head)?;
        for balance in *balances {
            let mark = if balance.agrees() {
                self.paint(Ink::Green, "✓")
            } else {
                self.paint(Ink::Red, "✗")
            };
            let (issuer, ledger) = (
                self.money.show(balance.issuer),
                self.money.show(balance.ledger),
            );
            let card = pad(&balance.card, self.what_width);
            self.say(
                Ink::Plain,
                &format!("     {card}{GAP}{issuer:>12}{GAP}{ledger:>12}{GAP}{mark}"),
            )?;
        }
        let equal = balances.iter().all(Balance::agrees);
        let books = if equal {
            "the issuer's books equal the ledger's"
        } else {
            "the issuer's books differ from the ledger's"
        };
        let ink = if equal && steps == as_scripted {
            Ink::Green
        } else {
            Ink::Red
        };
        self.note("")?;
        self.say(
            ink,
            &format!("{as_scripted} of {steps} steps as scripted; {books}"),
        )?;
        let took = took.as_secs_f64();
        self.say(
            Ink::Plain,
            &format!("{sent} messages from terminals, {relayed} to the issuer, in {took:.1} s"),
        )
    }

    /// A line of text, at once.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.say(Ink::Plain, text)?;
        self.out.flush()
    }

    fn say(&mut self, ink: Ink, text: &str) -> io::Result<()> {
        let text = self.paint(ink, text.trim_end_matches(' '));
        writeln!(self.out, "{text}")
    }

    fn paint(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Plain => return text.to_owned(),
            Ink::Bold => "1",
            Ink::Faint => "2",
            Ink::Green => "32",
            Ink::Red => "31",
        };
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Characters, each of which is taken to be one column wide.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// The text with spaces up to this width.
fn pad(text: &str, to: usize) -> String {
    format!("{text:<to$}")
}
