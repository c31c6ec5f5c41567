//! Where messages come from: text, bytes, frames one behind the other, captures.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use iso8583_framing::{Deframer, Framing, Step};

use super::capture::{self, Event, Origin};
use super::dump::{Pasted, TextReader};
use crate::Failure;

/// Bytes of the longest line that is read.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the longest file that is read whole, since it is no text.
const BINARY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Bytes of the longest message in a frame; what a length of three bytes can say.
const MESSAGE_BYTES_MAX: usize = (1 << 24) - 1;

/// Whether bytes are a message.
pub(super) type Test<'r> = &'r dyn Fn(&[u8]) -> bool;

/// How to read the input.
#[derive(Copy, Clone)]
pub(super) struct Reading<'r> {
    /// What surrounds each message.
    pub(super) framing: Option<Framing>,
    /// Whether a text is one message, whatever its lines.
    pub(super) one: bool,
    /// The port whose connections count in a capture.
    pub(super) port: Option<u16>,
    /// Whether frames are left as they are, and streams of a capture are given whole.
    pub(super) raw: bool,
    /// Tells a message from other bytes, if anything does.
    pub(super) is_message: Option<Test<'r>>,
}

/// What is found in the input.
pub(super) enum Piece<'b> {
    Message(&'b [u8]),
    /// A frame without a message.
    KeepAlive,
    /// What is wrong between messages, at this offset of the input or character of the line.
    Bad {
        offset: usize,
        message: String,
    },
}

/// Takes what is found, and what it was found on if the input is a capture.
pub(super) type Sink<'s> = dyn FnMut(Piece<'_>, Option<&Origin>) -> Result<(), Failure> + 's;

/// Reads an argument of the command line: a message in hex, a file, or stdin.
///
/// # Errors
/// [`Failure::Usage`] if it is none of them, [`Failure::Failed`] if it cannot be read, or what the sink answers.
pub(super) fn read(
    argument: Option<&OsStr>,
    reading: Reading<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), Failure> {
    let mut input = Input { reading, sink };
    match argument {
        None => input.reader(io::stdin().lock(), "stdin"),
        Some(dash) if dash == "-" => input.reader(io::stdin().lock(), "stdin"),
        Some(argument) => input.argument(argument),
    }
}

struct Input<'s, 'k, 'r> {
    reading: Reading<'r>,
    sink: &'s mut Sink<'k>,
}

impl Input<'_, '_, '_> {
    fn argument(&mut self, argument: &OsStr) -> Result<(), Failure> {
        let text = argument.to_str();
        if let Some(text) = text.filter(|text| is_hex_text(text)) {
            return self.pasted(one_message(text));
        }
        match File::open(argument) {
            Ok(file) => self.reader(BufReader::new(file), &argument.to_string_lossy()),
            Err(error) => {
                let pasted = text.map(one_message);
                match pasted {
                    Some(Ok(bytes)) if !bytes.is_empty() => self.pasted(Ok(bytes)),
                    // The argument is not repeated: where it is a message after all, it holds card data.
                    other => {
                        let place = other.and_then(Result::err);
                        let place = place.map(|error| format!(" ({error})")).unwrap_or_default();
                        Err(Failure::Usage(format!(
                            "expected a message in hex, a file or -; the argument is not hex{place}, and cannot be opened as a file: {error}"
                        )))
                    }
                }
            }
        }
    }

    fn reader(&mut self, mut reader: impl BufRead, name: &str) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::Failed(format!("{name}: {error}"));
        let front = reader.fill_buf().map_err(failed)?;
        let is_capture = capture::is_capture(front);
        if !is_capture && (begins_as_text(front) || (name == "stdin" && is_printable(front))) {
            self.reading.one |= name != "stdin" && self.is_wrapped(front);
            return self.lines(reader);
        }
        let mut bytes = Vec::new();
        reader
            .take(BINARY_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > BINARY_BYTES_MAX {
            return Err(Failure::Failed(format!(
                "{name}: longer than {BINARY_BYTES_MAX} bytes"
            )));
        }
        if is_capture {
            self.capture(&bytes)
        } else {
            self.bytes(&bytes)
        }
    }

    /// Whether a text that begins so is one message in lines of the same length: only together they are one.
    fn is_wrapped(&self, front: &[u8]) -> bool {
        let Some(is_message) = self.reading.is_message else {
            return false;
        };
        let text = String::from_utf8_lossy(front);
        let lines = text.lines().map(str::trim);
        let lines: Vec<&str> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        let Some((last, [first, others @ ..])) = lines.split_last() else {
            return false;
        };
        let is_even = others.iter().all(|line| line.len() == first.len());
        if !is_even || last.len() > first.len() || !lines.iter().all(|line| is_hex_text(line)) {
            return false;
        }
        let whole = one_message(&text).is_ok_and(|bytes| is_message(&bytes));
        whole && !one_message(first).is_ok_and(|bytes| is_message(&bytes))
    }

    /// Lines of text. Those that begin with # are skipped.
    fn lines(&mut self, mut input: impl BufRead) -> Result<(), Failure> {
        let mut text = TextReader::new(self.reading.one);
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = LINE_BYTES_MAX as u64 + 1;
            let read = input.by_ref().take(limit).read_until(b'\n', &mut line);
            if read.map_err(|error| Failure::Failed(format!("cannot read the input: {error}")))?
                == 0
            {
                return text.finish().map_or(Ok(()), |last| self.pasted(last));
            }
            if line.len() > LINE_BYTES_MAX {
                return Err(Failure::Failed(format!(
                    "a line is longer than {LINE_BYTES_MAX} bytes; expected one message a line"
                )));
            }
            for message in text.line(&String::from_utf8_lossy(&line)) {
                self.pasted(message)?;
            }
        }
    }

    fn pasted(&mut self, pasted: Pasted) -> Result<(), Failure> {
        match pasted {
            Ok(bytes) => self.bytes(&bytes),
            Err(error) => {
                let bad = Piece::Bad {
                    offset: error.column - 1,
                    message: error.to_string(),
                };
                (self.sink)(bad, None)
            }
        }
    }

    /// One message, or frames one behind the other.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self.reading.framing {
            Some(framing) if !self.reading.raw => {
                let mut frames = Frames::new(framing);
                frames.take(bytes, None, self.sink)?;
                frames.end(None, self.sink)
            }
            _ => (self.sink)(Piece::Message(bytes), None),
        }
    }

    /// The streams of a capture.
    fn capture(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let port = self.reading.port;
        if self.reading.raw {
            let mut streams: Vec<(Origin, Vec<u8>)> = Vec::new();
            capture::read(bytes, port, &mut |origin, event| {
                if let Event::Data(bytes) = event {
                    match streams
                        .iter_mut()
                        .find(|(known, _)| known.stream == origin.stream)
                    {
                        Some((_, stream)) => stream.extend(bytes),
                        None => streams.push((*origin, bytes.to_vec())),
                    }
                }
                Ok::<(), Failure>(())
            })?;
            return streams.iter().try_for_each(|(origin, stream)| {
                (self.sink)(Piece::Message(stream), Some(origin))
            });
        }
        let framing = self.reading.framing.unwrap_or(Framing::LEN2);
        let mut streams: HashMap<usize, Frames> = HashMap::new();
        let sink = &mut *self.sink;
        capture::read(bytes, port, &mut |origin, event| {
            let frames = streams
                .entry(origin.stream)
                .or_insert_with(|| Frames::new(framing));
            match event {
                Event::Begin => {
                    frames.end(Some(origin), sink)?;
                    *frames = Frames::new(framing);
                    Ok(())
                }
                Event::Data(bytes) => frames.take(bytes, Some(origin), sink),
                Event::Lost(count) => {
                    let message = format!("{count} bytes of the stream are not in the capture");
                    let offset = frames.offset;
                    sink(Piece::Bad { offset, message }, Some(origin))?;
                    *frames = Frames::new(framing);
                    frames.offset = offset + count;
                    Ok(())
                }
                Event::End => frames.end(Some(origin), sink),
            }
        })
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

/// A stream that is cut into messages.
pub(super) struct Frames {
    deframer: Deframer,
    /// Bytes that no frame has used up yet.
    rest: Vec<u8>,
    /// Where these start in the stream.
    offset: usize,
    /// Whether a frame was bad, behind which nobody knows where the next one starts.
    is_lost: bool,
}

impl Frames {
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            deframer: Deframer::new(framing, MESSAGE_BYTES_MAX),
            rest: Vec::new(),
            offset: 0,
            is_lost: false,
        }
    }

    /// Gives the messages that end in these bytes.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        origin: Option<&Origin>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failure> {
        if self.is_lost {
            return Ok(());
        }
        self.rest.extend(bytes);
        let mut at = 0;
        loop {
            let offset = self.offset + at;
            let bad = |message| Piece::Bad { offset, message };
            let consumed = match self.deframer.next(self.rest.get(at..).unwrap_or_default()) {
                Ok(Step::Message { body, consumed }) => {
                    sink(Piece::Message(body), origin)?;
                    consumed
                }
                Ok(Step::Rebuilt { body, consumed }) => {
                    sink(Piece::Message(&body), origin)?;
                    consumed
                }
                Ok(Step::KeepAlive { consumed }) => {
                    sink(Piece::KeepAlive, origin)?;
                    consumed
                }
                Ok(Step::Oversize { len, consumed }) => {
                    let message =
                        format!("at offset {offset}: a message of {len} bytes is longer than any");
                    sink(bad(message), origin)?;
                    consumed
                }
                Ok(Step::Skipped { consumed }) => consumed,
                Ok(Step::Incomplete { .. }) => break,
                Err(error) => {
                    self.is_lost = true;
                    return sink(bad(format!("at offset {offset}: {error}")), origin);
                }
            };
            at += consumed;
        }
        self.offset += at;
        self.rest.drain(..at.min(self.rest.len()));
        Ok(())
    }

    /// The stream ends: says so if it is within a frame.
    pub(super) fn end(
        &mut self,
        origin: Option<&Origin>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failure> {
        if self.is_lost {
            return Ok(());
        }
        self.is_lost = true;
        match self.deframer.next(&self.rest) {
            Ok(Step::Incomplete { needed })
                if !self.rest.is_empty() || self.deframer.is_inside_frame() =>
            {
                let offset = self.offset;
                let message =
                    format!("at offset {offset}: the frame ends {needed} bytes too early");
                sink(Piece::Bad { offset, message }, origin)
            }
            _ => Ok(()),
        }
    }
}

fn one_message(text: &str) -> Pasted {
    let mut reader = TextReader::new(true);
    for line in text.lines() {
        if let Some(Err(error)) = reader.line(line).pop() {
            return Err(error);
        }
    }
    reader.finish().unwrap_or(Ok(Vec::new()))
}

/// Whether this can only be meant as hex: digits and white space.
fn is_hex_text(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_hexdigit() || byte.is_ascii_whitespace())
}

fn is_printable(front: &[u8]) -> bool {
    let text = String::from_utf8_lossy(front);
    !text
        .chars()
        .any(|character| character.is_control() && !character.is_ascii_whitespace())
}

/// Whether a file that begins with these bytes holds text: its first line that is neither empty nor a comment is hex in one
/// of its forms, or can be meant as such.
fn begins_as_text(front: &[u8]) -> bool {
    let content = |line: &&[u8]| !line.trim_ascii().is_empty() && !line.starts_with(b"#");
    let has_comment = front.starts_with(b"#");
    let first = front
        .split(|&byte| byte == b'\n')
        .find(content)
        .unwrap_or_default();
    let Ok(line) = std::str::from_utf8(first) else {
        return false;
    };
    let mut reader = TextReader::new(false);
    let is_bad = reader.line(line).iter().any(Result::is_err);
    is_printable(first) && (has_comment || !is_bad || is_nearly_hex(line))
}

/// Whether this line has so many digits in groups that it must be meant as hex, with a slip in it.
fn is_nearly_hex(line: &str) -> bool {
    let digits = line.bytes().filter(u8::is_ascii_hexdigit).count();
    let others = line
        .bytes()
        .filter(|byte| !byte.is_ascii_hexdigit() && !byte.is_ascii_whitespace())
        .count();
    digits >= 16 && others * 50 < digits
}
