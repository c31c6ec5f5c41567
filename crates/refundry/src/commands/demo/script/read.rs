//! From the text of a script to its steps: what serde cannot check is checked here, with the line of every mistake.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use refund_ledger::Reason;
use serde::Deserialize;
use simulators::Card;
use simulators::issuer::Rule;
use switch_core::iso87_code;
use toml::Spanned;

use super::super::money::Money;
use super::{Chapter, Deed, Script, Step, Till};
use crate::config::nearest;

/// Messages that one step may send at the same moment.
const CONNECTIONS_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScript {
    currency: Spanned<String>,
    /// Any value: a message about one of the wrong type would repeat it.
    cards: BTreeMap<String, Spanned<toml::Value>>,
    terminals: BTreeMap<String, Spanned<Till>>,
    #[serde(rename = "chapter")]
    chapters: Vec<RawChapter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChapter {
    title: String,
    #[serde(rename = "step")]
    steps: Vec<RawStep>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    what: Spanned<String>,
    #[serde(rename = "do")]
    verb: Verb,
    #[serde(rename = "as")]
    name: Option<Spanned<String>>,
    of: Option<Spanned<String>>,
    card: Option<Spanned<String>>,
    terminal: Option<Spanned<String>>,
    amount: Option<Spanned<String>>,
    connections: Option<Spanned<usize>>,
    #[serde(default)]
    delayed: bool,
    issuer_does: Option<Vec<Spanned<String>>>,
    expect: Option<OneOrMany>,
    reason: Option<Spanned<String>>,
    left: Option<Spanned<String>>,
    #[serde(default)]
    same_answer: bool,
    issuer_sees: Option<Vec<String>>,
}

#[derive(Deserialize, Copy, Clone, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Verb {
    Purchase,
    Refund,
    Void,
    Reversal,
    PartialReversal,
    Again,
    Repeat,
    Restart,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// An earlier step, as far as later ones need it.
struct Earlier {
    name: Option<String>,
    terminal: Option<String>,
    original: Option<usize>,
}

/// Reads a day; every problem is on a line of its own.
pub(super) fn script(text: &str, file: &Path) -> Result<Script, String> {
    let raw: RawScript = toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let line = line_of(text, offset);
        let key = text
            .lines()
            .nth(line - 1)
            .and_then(|line| line.split_once('='))
            .map(|(key, _)| key.trim());
        let key = key.map(|key| format!("{key}: ")).unwrap_or_default();
        format!("{}:{line}: {key}{}", file.display(), error.message())
    })?;
    let mut reader = Reader::new(text, &raw);
    let chapters = raw
        .chapters
        .iter()
        .map(|chapter| reader.chapter(chapter))
        .collect();
    let Reader {
        money,
        cards,
        problems,
        ..
    } = reader;
    if !problems.is_empty() {
        let lines: Vec<String> = problems
            .iter()
            .map(|(line, message)| format!("{}:{line}: {message}", file.display()))
            .collect();
        return Err(lines.join("\n"));
    }
    let tills = raw
        .terminals
        .into_iter()
        .map(|(name, till)| (name, till.into_inner()))
        .collect();
    Ok(Script {
        money,
        cards,
        tills,
        chapters,
    })
}

/// Reads step after step, and keeps every problem instead of ending at the first.
struct Reader<'t> {
    text: &'t str,
    money: Money,
    cards: BTreeMap<String, Card>,
    terminals: Vec<String>,
    earlier: Vec<Earlier>,
    problems: Vec<(usize, String)>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, raw: &RawScript) -> Reader<'t> {
        let mut reader = Reader {
            text,
            money: Money::default(),
            cards: BTreeMap::new(),
            terminals: raw.terminals.keys().cloned().collect(),
            earlier: Vec::new(),
            problems: Vec::new(),
        };
        match Money::new(raw.currency.get_ref()) {
            Ok(money) => reader.money = money,
            Err(message) => reader.problem(&raw.currency, "currency", message),
        }
        for (name, pan) in &raw.cards {
            // A card number is not repeated in a message, not even a wrong one.
            let digits = pan.get_ref().as_str().unwrap_or_default();
            if !(12..=19).contains(&digits.len())
                || !digits.bytes().all(|byte| byte.is_ascii_digit())
            {
                reader.problem(
                    pan,
                    &format!("cards.{name}"),
                    "expected 12 to 19 digits in quotes",
                );
            }
            reader.cards.insert(name.clone(), Card::new(digits));
        }
        for (name, till) in &raw.terminals {
            let Till { terminal, merchant } = till.get_ref();
            for (key, value, longest) in [("terminal", terminal, 8), ("merchant", merchant, 15)] {
                let fits = (1..=longest).contains(&value.len());
                if !fits
                    || !value
                        .bytes()
                        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
                {
                    let message = format!(
                        "expected 1 to {longest} printable ASCII characters, found {value:?}"
                    );
                    reader.problem(till, &format!("terminals.{name}.{key}"), message);
                }
            }
        }
        reader
    }

    fn problem<T>(&mut self, place: &Spanned<T>, key: &str, message: impl Display) {
        let line = self.line(place);
        self.problems.push((line, format!("{key}: {message}")));
    }

    fn line<T>(&self, place: &Spanned<T>) -> usize {
        line_of(self.text, place.span().start)
    }

    fn chapter(&mut self, raw: &RawChapter) -> Chapter {
        let steps = raw
            .steps
            .iter()
            .filter_map(|step| self.step(step))
            .collect();
        Chapter {
            title: raw.title.clone(),
            steps,
        }
    }

    /// `None` comes with a problem.
    fn step(&mut self, raw: &RawStep) -> Option<Step> {
        let position = self.earlier.len();
        let of = raw.of.as_ref().and_then(|of| self.reference(of));
        let inherited = of
            .and_then(|of| self.earlier.get(of))
            .map(|of| (of.terminal.clone(), of.original));
        let (terminal, original) = inherited.unwrap_or_default();
        let terminal = match &raw.terminal {
            Some(name) => self.terminal(name),
            None => terminal,
        };
        let original = if raw.verb == Verb::Purchase {
            Some(position)
        } else {
            original
        };
        let name = raw.name.as_ref().map(|name| name.get_ref().clone());
        if let (Some(name), Some(place)) = (&name, &raw.name)
            && self
                .earlier
                .iter()
                .any(|earlier| earlier.name.as_ref() == Some(name))
        {
            self.problem(place, "as", format!("another step has the name {name:?}"));
        }
        let deed = self.deed(raw, of, terminal.clone());
        let expect = self.expect(raw);
        let reason = self.reason(raw, &expect);
        let left = raw.left.as_ref().and_then(|left| self.amount(left, "left"));
        let (connections, issuer_does) = (self.connections(raw), self.rules(raw));
        // Even a bad step keeps its name, so that one mistake is not reported at every later step too.
        self.earlier.push(Earlier {
            name,
            terminal,
            original,
        });
        Some(Step {
            line: self.line(&raw.what),
            what: raw.what.get_ref().clone(),
            deed: deed?,
            original,
            connections,
            delayed: raw.delayed,
            issuer_does,
            expect,
            reason,
            left,
            same_answer: raw.same_answer,
            issuer_sees: raw.issuer_sees.clone(),
        })
    }

    fn deed(&mut self, raw: &RawStep, of: Option<usize>, terminal: Option<String>) -> Option<Deed> {
        let (purchase, restart) = (raw.verb == Verb::Purchase, raw.verb == Verb::Restart);
        let again = matches!(raw.verb, Verb::Again | Verb::Repeat);
        let has_amount = matches!(
            raw.verb,
            Verb::Purchase | Verb::Refund | Verb::PartialReversal
        );
        self.wants(
            raw,
            "of",
            raw.of.is_some(),
            !purchase && !restart,
            !purchase && !restart,
        );
        self.wants(
            raw,
            "card",
            raw.card.is_some(),
            purchase,
            purchase || raw.verb == Verb::Refund,
        );
        self.wants(
            raw,
            "terminal",
            raw.terminal.is_some(),
            purchase,
            !again && !restart,
        );
        self.wants(
            raw,
            "amount",
            raw.amount.is_some(),
            has_amount,
            has_amount || raw.verb == Verb::Again,
        );
        self.wants(raw, "as", raw.name.is_some(), false, !restart);
        self.wants(raw, "left", raw.left.is_some(), false, !restart);
        self.wants(raw, "delayed", raw.delayed, false, purchase);
        self.wants(raw, "same_answer", raw.same_answer, false, again);
        let amount = raw
            .amount
            .as_ref()
            .and_then(|amount| self.amount(amount, "amount"));
        let card = raw.card.as_ref().and_then(|card| self.card(card));
        Some(match raw.verb {
            Verb::Purchase => Deed::Purchase {
                card: card?,
                terminal: terminal?,
                amount: amount?,
            },
            Verb::Refund => Deed::Refund {
                of: of?,
                card,
                terminal: terminal?,
                amount: amount?,
            },
            Verb::Void => Deed::Void {
                of: of?,
                terminal: terminal?,
            },
            Verb::Reversal => Deed::Reversal {
                of: of?,
                terminal: terminal?,
            },
            Verb::PartialReversal => Deed::PartialReversal {
                of: of?,
                terminal: terminal?,
                stays: amount?,
            },
            Verb::Again => Deed::Again { of: of?, amount },
            Verb::Repeat => Deed::Repeat { of: of? },
            Verb::Restart => Deed::Restart,
        })
    }

    /// Reports a key that is missing or out of place.
    fn wants(&mut self, raw: &RawStep, key: &str, given: bool, needed: bool, allowed: bool) {
        if needed && !given {
            self.problem(&raw.what, key, "is missing in this step");
        }
        if given && !allowed {
            self.problem(&raw.what, key, "has no meaning in this step");
        }
    }

    fn reference(&mut self, of: &Spanned<String>) -> Option<usize> {
        let names = self.earlier.iter().map(|earlier| earlier.name.as_ref());
        let found = names
            .into_iter()
            .position(|name| name == Some(of.get_ref()));
        if found.is_none() {
            let known: Vec<String> = self
                .earlier
                .iter()
                .filter_map(|earlier| earlier.name.clone())
                .collect();
            self.unknown(of, "of", "earlier step", &known);
        }
        found
    }

    fn card(&mut self, name: &Spanned<String>) -> Option<String> {
        let known: Vec<String> = self.cards.keys().cloned().collect();
        self.known(name, "card", &known)
    }

    fn terminal(&mut self, name: &Spanned<String>) -> Option<String> {
        let known = self.terminals.clone();
        self.known(name, "terminal", &known)
    }

    fn known(&mut self, name: &Spanned<String>, key: &str, known: &[String]) -> Option<String> {
        if known.contains(name.get_ref()) {
            return Some(name.get_ref().clone());
        }
        self.unknown(name, key, key, known);
        None
    }

    fn unknown(&mut self, name: &Spanned<String>, key: &str, kind: &str, known: &[String]) {
        let nearest = nearest(name.get_ref(), known.iter().map(String::as_str));
        let hint = nearest.map(|nearest| format!("; the nearest known one is `{nearest}`"));
        let message = format!(
            "unknown {kind} `{}`{}",
            name.get_ref(),
            hint.unwrap_or_default()
        );
        self.problem(name, key, message);
    }

    fn amount(&mut self, text: &Spanned<String>, key: &str) -> Option<u64> {
        let parsed = self.money.parse(text.get_ref());
        parsed
            .map_err(|message| self.problem(text, key, message))
            .ok()
    }

    fn connections(&mut self, raw: &RawStep) -> usize {
        let Some(connections) = &raw.connections else {
            return 1;
        };
        let number = *connections.get_ref();
        if !(1..=CONNECTIONS_MAX).contains(&number) || raw.verb == Verb::Restart || raw.delayed {
            let message = format!(
                "expected 1 to {CONNECTIONS_MAX}, of messages that are sent, found {number}"
            );
            self.problem(connections, "connections", message);
        }
        number
    }

    fn rules(&mut self, raw: &RawStep) -> Option<Vec<Rule>> {
        let texts = raw.issuer_does.as_ref()?;
        let mut rules = Vec::new();
        for text in texts {
            match text.get_ref().parse() {
                Ok(rule) => rules.push(rule),
                Err(error) => self.problem(text, "issuer_does", error),
            }
        }
        Some(rules)
    }

    fn expect(&mut self, raw: &RawStep) -> Vec<String> {
        let expect = match &raw.expect {
            Some(OneOrMany::One(code)) => vec![code.clone()],
            Some(OneOrMany::Many(codes)) => codes.clone(),
            None => Vec::new(),
        };
        let silent = raw.delayed || raw.verb == Verb::Restart;
        let wanted = match (silent, &raw.connections) {
            (true, _) => 0,
            (false, None) => 1,
            (false, Some(connections)) => *connections.get_ref(),
        };
        if expect.len() != wanted {
            let message = format!(
                "expected {wanted} response codes, one for each answer, found {}",
                expect.len()
            );
            self.problem(&raw.what, "expect", message);
        }
        expect
    }

    fn reason(&mut self, raw: &RawStep, expect: &[String]) -> Option<Reason> {
        let code = expect.iter().find(|code| *code != "00");
        let (place, code) = match (&raw.reason, code) {
            (Some(place), Some(code)) => (place, code),
            (None, None) => return None,
            (None, Some(code)) => {
                self.problem(
                    &raw.what,
                    "reason",
                    format!("is missing: say why {code} is expected"),
                );
                return None;
            }
            (Some(place), None) => {
                self.problem(place, "reason", "has no meaning where only 00 is expected");
                return None;
            }
        };
        let Some(reason) = Reason::by_name(place.get_ref()) else {
            let known: Vec<String> = Reason::ALL
                .iter()
                .map(|reason| reason.name().to_owned())
                .collect();
            self.unknown(place, "reason", "reason", &known);
            return None;
        };
        let answered = iso87_code(reason);
        // A decline passes with the issuer's own code.
        if reason != Reason::Declined && code.as_bytes() != answered {
            let answered = String::from_utf8_lossy(&answered).into_owned();
            self.problem(
                place,
                "reason",
                format!("`{reason}` is answered {answered}, the step expects {code}"),
            );
        }
        Some(reason)
    }
}

/// The line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|&&byte| byte == b'\n').count() + 1
}
