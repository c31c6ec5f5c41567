//! What the simulated issuer does with which message, as data and as text.
//!
//! A rule is conditions, a colon, and actions. The first rule whose conditions all hold decides; where none does, the issuer
//! approves.
//!
//! ```text
//! rule       = [ condition { " " condition } ] ":" action { "," action }
//!
//! condition  = "mti=" 4 characters, digits or x     mti=0200, mti=042x (an advice and its repeats)
//!            | "processing=" digits                 DE3 begins with them: processing=20 is a refund
//!            | "amount=" number                     DE4 in minor units: amount=5100
//!            | "amount=" number "-" number          DE4 in a range, both ends included
//!            | "amount=*" digits                    DE4 ends with them: amount=*51
//!            | "pan=" digits                        the card number begins with them
//!            | "network=" 3 digits                  DE70 of a network message: 001 sign on, 301 echo
//!            | "times=" number                      only for the first so many messages that match
//!
//! action     = "approve"                            DE39=00, the default
//!            | "decline" 2 characters               DE39, nothing is executed
//!            | "partial" number                     DE39=10 with this DE4
//!            | "ignore"                             nothing is executed, nothing is answered
//!            | "drop"                               executed, and the answer is lost
//!            | "close"                              executed, and the connection closes instead of an answer
//!            | "garbage"                            executed, and the answer cannot be read
//!            | "delay" duration                     it is executed and answered only after this time
//!            | "late" duration                      it is executed at once and answered after this time
//!            | "twice"                              the answer comes twice
//!            | "wrong" number                       the answer carries another value in this data element
//!            | "extra" number "=" text              the answer carries this data element too
//!            | "extra" number "=hex:" hex digits    the same, for values that are not text
//!
//! duration   = number ( "ms" | "s" )
//! ```
//!
//! A rule without `mti=` and `network=` is about requests and advices of classes 1 and 2 alone: reversals (`mti=042x`) and
//! network messages (`mti=0800`, `network=301`) must be named. Thus `amount=5100: drop` loses the answer to a purchase and
//! lets its reversal through, and `: drop` does not take the link down. A condition on something that the message lacks does
//! not hold.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use iso8583_codec::{Mti, Pan};

/// One rule: conditions that must all hold, and what is done then.
///
/// ```
/// use simulators::issuer::Rule;
///
/// let rule: Rule = "mti=0200 amount=5100 times=2: decline 51".parse()?;
/// assert_eq!(rule.to_string(), "mti=0200 amount=5100 times=2: decline 51");
///
/// let error = "amount=5100: declines 51".parse::<Rule>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown action \"declines\" at character 14");
/// # Ok::<(), simulators::issuer::RuleError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// All of them must hold. Without one on the MTI or DE70, the message must be of class 1 or 2 as well.
    pub conditions: Vec<Condition>,
    /// What is done, at least one.
    pub actions: Vec<Action>,
    /// Only for the first so many messages that match; `None`: always.
    pub times: Option<u32>,
}

/// What a rule looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Condition {
    /// MTI, four characters, `x` for any digit.
    Mti([u8; 4]),
    /// DE3 begins with these digits.
    Processing(String),
    /// DE4 lies in this range, both ends included; minor units.
    Amount {
        /// The least amount.
        from: u64,
        /// The greatest amount.
        to: u64,
    },
    /// The twelve digits of DE4 end with these.
    AmountEnds(String),
    /// The card number begins with these digits.
    Pan(String),
    /// DE70 of a network message.
    Network(String),
}

/// What is done with a message that a rule matches.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Action {
    /// DE39=00.
    Approve,
    /// This DE39; nothing is executed.
    Decline([u8; 2]),
    /// DE39=10 with this amount in minor units.
    Partial(u64),
    /// Nothing is executed, nothing is answered.
    Ignore,
    /// Executed, and the answer is lost.
    Drop,
    /// Executed, and the connection closes instead of an answer.
    Close,
    /// Executed, and the answer is bytes that no one can read.
    Garbage,
    /// Executed and answered only after this time.
    Delay(Duration),
    /// Executed at once, answered after this time.
    Late(Duration),
    /// The answer comes twice.
    Twice,
    /// The answer carries another value in this data element.
    Wrong(u8),
    /// The answer carries this data element too.
    Extra {
        /// The data element.
        de: u8,
        /// Its canonical value.
        value: Vec<u8>,
    },
}

/// What of a message the conditions look at.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) mti: Mti,
    pub(crate) processing_code: Option<[u8; 6]>,
    pub(crate) amount: Option<u64>,
    pub(crate) pan: Option<Pan>,
    pub(crate) network: Option<[u8; 3]>,
}

impl Rule {
    /// Whether all conditions hold.
    pub(crate) fn matches(&self, facts: &Facts) -> bool {
        let names_class = self
            .conditions
            .iter()
            .any(|condition| matches!(condition, Condition::Mti(_) | Condition::Network(_)));
        (names_class || matches!(facts.mti.class(), 1 | 2))
            && self
                .conditions
                .iter()
                .all(|condition| condition.holds(facts))
    }
}

impl Condition {
    fn holds(&self, facts: &Facts) -> bool {
        match self {
            Condition::Mti(pattern) => pattern
                .iter()
                .zip(facts.mti.as_bytes())
                .all(|(&wanted, &digit)| wanted == b'x' || wanted == digit),
            Condition::Processing(prefix) => facts
                .processing_code
                .is_some_and(|code| code.starts_with(prefix.as_bytes())),
            Condition::Amount { from, to } => facts
                .amount
                .is_some_and(|amount| (*from..=*to).contains(&amount)),
            Condition::AmountEnds(digits) => facts
                .amount
                .is_some_and(|amount| format!("{amount:012}").ends_with(digits.as_str())),
            Condition::Pan(prefix) => facts
                .pan
                .as_ref()
                .is_some_and(|pan| pan.digits().starts_with(prefix.as_bytes())),
            Condition::Network(code) => facts
                .network
                .is_some_and(|network| network == code.as_bytes()),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for condition in &self.conditions {
            write!(f, "{separator}{condition}")?;
            separator = " ";
        }
        if let Some(times) = self.times {
            write!(f, "{separator}times={times}")?;
        }
        separator = ": ";
        for action in &self.actions {
            write!(f, "{separator}{action}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Mti(pattern) => write!(f, "mti={}", String::from_utf8_lossy(pattern)),
            Condition::Processing(prefix) => write!(f, "processing={prefix}"),
            Condition::Amount { from, to } if from == to => write!(f, "amount={from}"),
            Condition::Amount { from, to } => write!(f, "amount={from}-{to}"),
            Condition::AmountEnds(digits) => write!(f, "amount=*{digits}"),
            Condition::Pan(prefix) => write!(f, "pan={prefix}"),
            Condition::Network(code) => write!(f, "network={code}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Approve => f.write_str("approve"),
            Action::Decline(code) => write!(f, "decline {}", String::from_utf8_lossy(code)),
            Action::Partial(amount) => write!(f, "partial {amount}"),
            Action::Ignore => f.write_str("ignore"),
            Action::Drop => f.write_str("drop"),
            Action::Close => f.write_str("close"),
            Action::Garbage => f.write_str("garbage"),
            Action::Delay(time) => write!(f, "delay {}ms", time.as_millis()),
            Action::Late(time) => write!(f, "late {}ms", time.as_millis()),
            Action::Twice => f.write_str("twice"),
            Action::Wrong(de) => write!(f, "wrong {de}"),
            Action::Extra { de, value } => {
                write!(f, "extra {de}=hex:")?;
                value.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
            }
        }
    }
}

/// Why a text is not a rule: what was found, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleError {
    what: String,
    at: usize,
}

impl RuleError {
    fn new(what: impl Into<String>, at: usize) -> RuleError {
        RuleError {
            what: what.into(),
            at,
        }
    }

    /// The character of the text at which it goes wrong, counted from 1.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at character {}", self.what, self.at)
    }
}

impl std::error::Error for RuleError {}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        let Some((left, right)) = text.split_once(':') else {
            return Err(RuleError::new(
                "expected a colon before the action",
                text.chars().count() + 1,
            ));
        };
        let mut rule = Rule {
            conditions: Vec::new(),
            actions: Vec::new(),
            times: None,
        };
        for (word, at) in words(left, 1, ' ') {
            match word.split_once('=') {
                Some(("times", count)) => {
                    rule.times =
                        Some(number(count).ok_or_else(|| expected("times=", "a number", at))?);
                }
                Some((name, value)) => rule.conditions.push(condition(name, value, at)?),
                None => return Err(RuleError::new(format!("unknown condition {word:?}"), at)),
            }
        }
        let after_colon = left.chars().count() + 2;
        for (word, at) in words(right, after_colon, ',') {
            rule.actions.push(action(word, at)?);
        }
        if rule.actions.is_empty() {
            return Err(RuleError::new("expected an action", after_colon));
        }
        Ok(rule)
    }
}

/// The trimmed, non-empty parts of `text`, each with the character at which it stands.
fn words(text: &str, first: usize, separator: char) -> impl Iterator<Item = (&str, usize)> {
    let mut at = first;
    text.split(separator).filter_map(move |part| {
        let word = part.trim();
        let blanks = part
            .chars()
            .take_while(|character| character.is_whitespace())
            .count();
        let position = at + blanks;
        at += part.chars().count() + 1;
        (!word.is_empty()).then_some((word, position))
    })
}

fn condition(name: &str, value: &str, at: usize) -> Result<Condition, RuleError> {
    let digits = |len: usize| value.len() <= len && is_digits(value);
    match name {
        "mti" => {
            let pattern: Option<[u8; 4]> = value.as_bytes().try_into().ok();
            pattern
                .filter(|pattern| {
                    pattern
                        .iter()
                        .all(|&byte| byte.is_ascii_digit() || byte == b'x')
                })
                .map(Condition::Mti)
                .ok_or_else(|| expected("mti=", "four characters, digits or x", at))
        }
        "processing" if digits(6) => Ok(Condition::Processing(value.to_owned())),
        "processing" => Err(expected("processing=", "one to six digits", at)),
        "amount" => amount(value)
            .ok_or_else(|| expected("amount=", "a number, a range such as 100-200, or *51", at)),
        "pan" if digits(19) => Ok(Condition::Pan(value.to_owned())),
        "pan" => Err(expected("pan=", "one to nineteen digits", at)),
        "network" if digits(3) && value.len() == 3 => Ok(Condition::Network(value.to_owned())),
        "network" => Err(expected("network=", "three digits", at)),
        _ => Err(RuleError::new(format!("unknown condition {name:?}"), at)),
    }
}

fn amount(value: &str) -> Option<Condition> {
    if let Some(digits) = value.strip_prefix('*') {
        return (is_digits(digits) && digits.len() <= 12)
            .then(|| Condition::AmountEnds(digits.to_owned()));
    }
    let (from, to) = value.split_once('-').unwrap_or((value, value));
    let (from, to) = (number(from)?, number(to)?);
    (from <= to).then_some(Condition::Amount { from, to })
}

fn action(text: &str, at: usize) -> Result<Action, RuleError> {
    let (name, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let argument = argument.trim();
    let action = match name {
        "approve" => Action::Approve,
        "ignore" => Action::Ignore,
        "drop" => Action::Drop,
        "close" => Action::Close,
        "garbage" => Action::Garbage,
        "twice" => Action::Twice,
        "decline" => match <[u8; 2]>::try_from(argument.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_alphanumeric) => {
                return Ok(Action::Decline(code));
            }
            _ => return Err(expected("decline", "a response code of two characters", at)),
        },
        "partial" => {
            return number(argument)
                .map(Action::Partial)
                .ok_or_else(|| expected("partial", "an amount", at));
        }
        "delay" => {
            return duration(argument)
                .map(Action::Delay)
                .ok_or_else(|| expected("delay", DURATION, at));
        }
        "late" => {
            return duration(argument)
                .map(Action::Late)
                .ok_or_else(|| expected("late", DURATION, at));
        }
        "wrong" => {
            return element(argument)
                .map(Action::Wrong)
                .ok_or_else(|| expected("wrong", ELEMENT, at));
        }
        "extra" => {
            return extra(argument).ok_or_else(|| expected("extra", "44=text or 55=hex:9F26", at));
        }
        _ => return Err(RuleError::new(format!("unknown action {name:?}"), at)),
    };
    if argument.is_empty() {
        Ok(action)
    } else {
        Err(expected(name, "nothing", at))
    }
}

const DURATION: &str = "a duration such as 500ms or 2s";
const ELEMENT: &str = "a data element, 2 to 128";

fn expected(after: &str, what: &str, at: usize) -> RuleError {
    RuleError::new(format!("expected {what} after {after:?}"), at)
}

fn extra(argument: &str) -> Option<Action> {
    let (de, value) = argument.split_once('=')?;
    let value = match value.strip_prefix("hex:") {
        Some(hex) => iso8583_codec::describe::parse_hex(hex).ok()?,
        None => value.as_bytes().to_vec(),
    };
    Some(Action::Extra {
        de: element(de)?,
        value,
    })
}

fn element(text: &str) -> Option<u8> {
    number(text).filter(|de| (2..=128).contains(de))
}

fn duration(text: &str) -> Option<Duration> {
    if let Some(milliseconds) = text.strip_suffix("ms") {
        return number(milliseconds).map(Duration::from_millis);
    }
    text.strip_suffix('s')
        .and_then(number)
        .map(Duration::from_secs)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number of digits alone: no sign, no blanks.
fn number<N: FromStr>(text: &str) -> Option<N> {
    if is_digits(text) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
