//! `refundry decode`: messages field by field, for people or as JSON.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

use iso8583_codec::describe;
use iso8583_framing::{Deframer, Step};
use serde::Serialize;

use crate::Failure;
use crate::cli::DecodeArgs;

/// Bytes of the longest line that is read.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the longest file that is read whole, since it is no text.
const BINARY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Bytes of the longest message in a frame; what a length of three bytes can say.
const MESSAGE_BYTES_MAX: usize = (1 << 24) - 1;

/// Prints every message of the input.
///
/// # Errors
/// [`Failure::Found`] where a message was bad, which the output says in its place; [`Failure::Usage`] for input that is
/// neither hex nor a file.
pub fn run(args: &DecodeArgs) -> Result<(), Failure> {
    if args.spec.is_some() {
        return Err(Failure::Usage(
            "`--spec` is not in this version; expected --dialect".to_owned(),
        ));
    }
    let out = io::stdout().lock();
    let mut decoder = Decoder {
        args,
        out,
        messages: 0,
        bad: 0,
    };
    let read = match args.input.as_deref() {
        None => decoder.lines(io::stdin().lock()),
        Some(dash) if dash == "-" => decoder.lines(io::stdin().lock()),
        Some(argument) => decoder.argument(argument),
    };
    read?;
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

fn count(messages: u64) -> String {
    match messages {
        1 => "1 message".to_owned(),
        many => format!("{many} messages"),
    }
}

/// Decodes message after message into `out`.
struct Decoder<'a, W: Write> {
    args: &'a DecodeArgs,
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

#[derive(Serialize)]
struct FaultLine {
    error: Fault,
}

impl<W: Write> Decoder<'_, W> {
    /// A message in hex, or the name of a file.
    fn argument(&mut self, argument: &OsStr) -> Result<(), Failure> {
        let text = argument.to_str();
        if text.is_some_and(is_hex_text) {
            return self.hex(text.unwrap_or_default());
        }
        // The argument is not repeated: where it is a message after all, it holds card data.
        let file = File::open(argument).map_err(|error| {
            let position = text.and_then(|text| describe::parse_hex(text).err());
            let position = position.map(|error| format!(" ({error})")).unwrap_or_default();
            Failure::Usage(format!(
                "expected a message in hex, a file or -; the argument is not hex{position}, and cannot be opened as a file: {error}"
            ))
        })?;
        let mut reader = BufReader::new(file);
        let failed =
            |error: io::Error| Failure::Failed(format!("{}: {error}", argument.to_string_lossy()));
        if begins_as_text(reader.fill_buf().map_err(failed)?) {
            return self.lines(reader);
        }
        let mut bytes = Vec::new();
        reader
            .take(BINARY_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > BINARY_BYTES_MAX {
            return Err(Failure::Failed(format!(
                "{}: longer than {BINARY_BYTES_MAX} bytes",
                argument.to_string_lossy()
            )));
        }
        self.bytes(&bytes)
    }

    /// One message in hex a line. Empty lines and lines that begin with # are skipped.
    fn lines(&mut self, mut input: impl BufRead) -> Result<(), Failure> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = LINE_BYTES_MAX as u64 + 1;
            let read = input.by_ref().take(limit).read_until(b'\n', &mut line);
            if read.map_err(|error| Failure::Failed(format!("cannot read the input: {error}")))?
                == 0
            {
                return Ok(());
            }
            if line.len() > LINE_BYTES_MAX {
                return Err(Failure::Failed(format!(
                    "a line is longer than {LINE_BYTES_MAX} bytes; expected one message a line"
                )));
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim();
            if !text.is_empty() && !text.starts_with('#') {
                self.hex(text)?;
            }
        }
    }

    fn hex(&mut self, text: &str) -> Result<(), Failure> {
        match describe::parse_hex(text) {
            Ok(bytes) => self.bytes(&bytes),
            Err(error) => {
                let (describe::HexError::NotHex { position }
                | describe::HexError::OddDigits { position }) = error;
                self.fault(
                    "",
                    Fault {
                        field: None,
                        offset: position,
                        message: error.to_string(),
                    },
                )
            }
        }
    }

    /// One message, or frames one behind the other.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(framing) = self.args.framing else {
            return self.message(bytes);
        };
        let mut deframer = Deframer::new(framing, MESSAGE_BYTES_MAX);
        let mut rest = bytes;
        loop {
            let offset = bytes.len() - rest.len();
            let consumed = match deframer.next(rest) {
                Ok(Step::Message { body, consumed }) => {
                    self.message(body)?;
                    consumed
                }
                Ok(Step::Rebuilt { body, consumed }) => {
                    self.message(&body)?;
                    consumed
                }
                Ok(Step::KeepAlive { consumed }) => {
                    self.keep_alive()?;
                    consumed
                }
                Ok(Step::Oversize { len, consumed }) => {
                    let message = format!("a message of {len} bytes is longer than any");
                    self.frame_fault(offset, &message)?;
                    consumed
                }
                Ok(Step::Skipped { consumed }) => consumed,
                Ok(Step::Incomplete { .. }) if rest.is_empty() && !deframer.is_inside_frame() => {
                    return Ok(());
                }
                Ok(Step::Incomplete { needed }) => {
                    let message = format!("the frame ends {needed} bytes too early");
                    return self.frame_fault(offset, &message);
                }
                Err(error) => return self.frame_fault(offset, &error.to_string()),
            };
            rest = rest.get(consumed..).unwrap_or_default();
        }
    }

    /// A frame that is bad at or behind `offset` of the input.
    fn frame_fault(&mut self, offset: usize, message: &str) -> Result<(), Failure> {
        let message = format!("at offset {offset}: {message}");
        let field = None;
        self.fault(
            "",
            Fault {
                field,
                offset,
                message,
            },
        )
    }

    fn message(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let show_pan = self.args.show_pan;
        let message = match self.args.dialect.decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                let so_far = error
                    .partial()
                    .map(|partial| describe::to_table(partial, show_pan));
                let fault = Fault {
                    field: error.field(),
                    offset: error.offset(),
                    message: error.to_string(),
                };
                return self.fault(&so_far.unwrap_or_default(), fault);
            }
        };
        match message.validate() {
            Err(error) => {
                let fault = Fault {
                    field: Some(error.field()),
                    offset: error.offset(),
                    message: error.to_string(),
                };
                self.fault(&describe::to_table(&message, show_pan), fault)
            }
            Ok(()) if self.args.json => self.result(&describe::to_json(&message, show_pan)),
            Ok(()) => self.result(&describe::to_table(&message, show_pan)),
        }
    }

    fn keep_alive(&mut self) -> Result<(), Failure> {
        if self.args.json {
            Ok(())
        } else {
            self.result("a keep-alive: a frame without a message")
        }
    }

    /// A bad message: how far it could be read, then what is wrong.
    fn fault(&mut self, so_far: &str, fault: Fault) -> Result<(), Failure> {
        self.bad += 1;
        if self.args.json {
            let line = serde_json::to_string(&FaultLine { error: fault });
            return self.result(&line.map_err(|error| Failure::Failed(error.to_string()))?);
        }
        let so_far = so_far.trim_end();
        let gap = if so_far.is_empty() { "" } else { "\n" };
        self.result(&format!("{so_far}{gap}bad message: {}", fault.message))
    }

    /// One result; for people with an empty line between two.
    fn result(&mut self, text: &str) -> Result<(), Failure> {
        let gap = if self.messages > 0 && !self.args.json {
            "\n"
        } else {
            ""
        };
        self.messages += 1;
        writeln!(self.out, "{gap}{}", text.trim_end()).map_err(|error| Failure::output(&error))
    }
}

/// Whether this can only be meant as hex: digits and white space.
fn is_hex_text(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_hexdigit() || byte.is_ascii_whitespace())
}

/// Whether a file that begins with these bytes holds lines of hex: its first line that is neither empty nor a comment does.
fn begins_as_text(front: &[u8]) -> bool {
    let content = |line: &&[u8]| !line.trim_ascii().is_empty() && !line.starts_with(b"#");
    let first = front
        .split(|&byte| byte == b'\n')
        .find(content)
        .unwrap_or_default();
    std::str::from_utf8(first).is_ok_and(is_hex_text)
}
