//! `refundry decode`: messages field by field, for people or as JSON.

mod capture;
mod diff;
mod dump;
mod guess;
mod input;
mod meaning;
mod table;

use std::io::{self, Write};
use std::path::Path;

use iso8583_codec::model::Body;
use iso8583_codec::{Message, ReadError, Spec, describe};
use serde::Serialize;

use crate::Failure;
use crate::cli::DecodeArgs;
use capture::Origin;
use input::{Piece, Reading};

/// Prints every message of the input.
///
/// # Errors
/// [`Failure::Found`] where a message was bad, which the output says in its place, where two messages differ or where no
/// dialect fits; [`Failure::Usage`] for input that is neither hex nor a file.
pub fn run(args: &DecodeArgs) -> Result<(), Failure> {
    let reading = Reading {
        framing: args.framing,
        one: args.one,
        port: args.port,
        raw: false,
        is_message: None,
    };
    if args.guess {
        return guess::run(args, reading);
    }
    let loaded = match args.spec.as_slice() {
        [] => None,
        [file] => Some(load_spec(file)?),
        _ => {
            return Err(Failure::Usage(
                "--spec: several files; expected one, or --guess to choose among them".to_owned(),
            ));
        }
    };
    let spec = loaded.as_ref().unwrap_or(args.dialect);
    let is_message = |bytes: &[u8]| spec.decode(bytes).is_ok();
    let reading = Reading {
        is_message: Some(&is_message),
        ..reading
    };
    if args.diff {
        return diff::run(args, spec, reading);
    }
    if args.inputs.len() > 1 {
        return Err(Failure::Usage(
            "two messages; expected one, or --diff to compare them".to_owned(),
        ));
    }
    let mut decoder = Decoder {
        args,
        spec,
        out: io::stdout().lock(),
        messages: 0,
        bad: 0,
    };
    let argument = args.inputs.first().map(std::ffi::OsString::as_os_str);
    input::read(argument, reading, &mut |piece, origin| {
        decoder.piece(piece, origin)
    })?;
    decoder
        .out
        .flush()
        .map_err(|error| Failure::output(&error))?;
    match decoder.bad {
        0 => Ok(()),
        bad => {
            eprintln!(
                "refundry decode: {bad} of {} could not be decoded",
                count(decoder.messages)
            );
            Err(Failure::Found)
        }
    }
}

/// The dialect of a spec file.
///
/// # Errors
/// [`Failure::Usage`] with everything that is wrong with it.
pub(super) fn load_spec(file: &Path) -> Result<Spec, Failure> {
    let options = iso8583_spec::Options::default();
    let loaded = iso8583_spec::load(file, options);
    loaded
        .map(|loaded| loaded.spec)
        .map_err(|error| Failure::Usage(error.to_string()))
}

fn count(messages: u64) -> String {
    match messages {
        1 => "1 message".to_owned(),
        many => format!("{many} messages"),
    }
}

/// Decodes message after message into `out`.
struct Decoder<'a, W: Write> {
    args: &'a DecodeArgs,
    spec: &'a Spec,
    out: W,
    messages: u64,
    bad: u64,
}

/// What is wrong, and where.
#[derive(Serialize)]
struct Fault {
    /// The data element; none where the head of the message, its frame or its hex is at fault.
    field: Option<u8>,
    /// Bytes from the start of the message, or of what should be one.
    offset: usize,
    message: String,
}

impl Fault {
    fn of_subfield(error: &ReadError) -> Self {
        let field = error.path().split('.').next();
        Self {
            field: field.and_then(|field| field.parse().ok()),
            offset: error.offset(),
            message: error.to_string(),
        }
    }
}

#[derive(Serialize)]
struct FaultLine {
    error: Fault,
}

/// Where in a capture a message was found.
#[derive(Serialize)]
struct Place {
    from: String,
    to: String,
    /// The packet that completed the message, from 1.
    packet: u64,
    /// Seconds since the first packet.
    seconds: f64,
}

impl Place {
    fn new(origin: &Origin) -> Self {
        Self {
            from: origin.from.to_string(),
            to: origin.to.to_string(),
            packet: origin.packet,
            seconds: std::time::Duration::from_micros(origin.micros).as_secs_f64(),
        }
    }
}

/// The first fault of a message whose elements could be told apart.
fn fault_of(message: &Message<'_>) -> Option<Fault> {
    if let Err(error) = message.validate() {
        return Some(Fault {
            field: Some(error.field()),
            offset: error.offset(),
            message: error.to_string(),
        });
    }
    let fields = &message.spec().dialect().fields;
    let compound = message.elements().filter(|de| {
        let row = fields.get(de);
        row.is_some_and(|row| !matches!(row.body, Body::Value))
    });
    let mut read = compound.filter_map(|de| message.subfields(de));
    read.find_map(|read| read.err().map(|error| Fault::of_subfield(&error)))
}

impl<W: Write> Decoder<'_, W> {
    fn piece(&mut self, piece: Piece<'_>, origin: Option<&Origin>) -> Result<(), Failure> {
        match piece {
            Piece::Message(bytes) => self.message(bytes, origin),
            Piece::KeepAlive if self.args.json => Ok(()),
            Piece::KeepAlive => self.result("a keep-alive: a frame without a message", origin),
            Piece::Bad { offset, message } => {
                let field = None;
                let fault = Fault {
                    field,
                    offset,
                    message,
                };
                self.fault("", fault, origin)
            }
        }
    }

    fn message(&mut self, bytes: &[u8], origin: Option<&Origin>) -> Result<(), Failure> {
        match self.spec.decode(bytes) {
            Err(error) => {
                let fault = Fault {
                    field: error.field(),
                    offset: error.offset(),
                    message: error.to_string(),
                };
                let so_far = error.partial().map(|partial| self.shown(partial));
                self.fault(&so_far.unwrap_or_default(), fault, origin)
            }
            Ok(message) => match fault_of(&message) {
                Some(fault) => self.fault(&self.shown(&message), fault, origin),
                None => self.result(&self.shown(&message), origin),
            },
        }
    }

    /// A message as it is asked for.
    fn shown(&self, message: &Message<'_>) -> String {
        let (show_pan, detail) = (self.args.show_pan, self.args.detail);
        match (self.args.json, detail) {
            (false, _) => table::text(message, show_pan, detail),
            (true, false) => describe::to_json(message, show_pan),
            (true, true) => {
                let line = describe::to_json(message, show_pan);
                let rows = serde_json::to_string(&table::rows(message, show_pan));
                with_member(&line, "described", &rows.unwrap_or_default())
            }
        }
    }

    /// A bad message: how far it could be read, then what is wrong.
    fn fault(
        &mut self,
        so_far: &str,
        fault: Fault,
        origin: Option<&Origin>,
    ) -> Result<(), Failure> {
        self.bad += 1;
        if self.args.json {
            let line = serde_json::to_string(&FaultLine { error: fault });
            let line = line.map_err(|error| Failure::Failed(error.to_string()))?;
            return self.result(&line, origin);
        }
        let so_far = so_far.trim_end();
        let gap = if so_far.is_empty() { "" } else { "\n" };
        let text = format!("{so_far}{gap}bad message: {}", fault.message);
        self.result(&text, origin)
    }

    /// One result; for people with an empty line between two.
    fn result(&mut self, text: &str, origin: Option<&Origin>) -> Result<(), Failure> {
        let gap = if self.messages > 0 && !self.args.json {
            "\n"
        } else {
            ""
        };
        self.messages += 1;
        let text = match origin.map(Place::new) {
            None => text.to_owned(),
            Some(place) if self.args.json => {
                let place = serde_json::to_string(&place).unwrap_or_default();
                with_member(text, "capture", &place)
            }
            Some(Place {
                from,
                to,
                packet,
                seconds,
            }) => format!("{from} -> {to}, packet {packet}, {seconds:.6} s\n{text}"),
        };
        writeln!(self.out, "{gap}{}", text.trim_end()).map_err(|error| Failure::output(&error))
    }
}

/// A JSON object with another member at its end.
fn with_member(object: &str, name: &str, value: &str) -> String {
    let inside = object.strip_suffix('}').unwrap_or(object);
    format!("{inside},\"{name}\":{value}}}")
}

/// How much of what can be checked of a message makes sense, from 0 to 1: its type, dates and times that there are, the check
/// digit of the card number.
fn sense(message: &Message<'_>) -> f64 {
    let mti = message.mti();
    let mut checks = vec![
        matches!(mti.version(), 0..=2 | 8 | 9)
            && (1..=8).contains(&mti.class())
            && mti.function() <= 7
            && mti.origin() <= 5,
    ];
    for de in [7, 12, 13, 14] {
        if let Some(text) = message.text(de) {
            let text = String::from_utf8_lossy(&text).into_owned();
            checks.push(meaning::is_time(de, &text));
        }
    }
    if let Ok(Some(pan)) = message.pan() {
        checks.push(describe::is_card_number(pan.digits()));
    }
    let good = checks.iter().filter(|check| **check).count();
    good as f64 / checks.len() as f64
}
