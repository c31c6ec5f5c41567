//! `refundry encode`: JSON lines to messages.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use bytes::BytesMut;
use iso8583_codec::{Record, Spec};

use super::decode::load_spec;
use crate::Failure;
use crate::cli::EncodeArgs;

/// Bytes of the longest line that is read.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Writes a message for every line of the input.
///
/// # Errors
/// [`Failure::Found`] where a line could not be encoded, which stderr says by its number; [`Failure::Usage`] for a bad spec
/// file or an input that cannot be opened.
pub fn run(args: &EncodeArgs) -> Result<(), Failure> {
    let loaded = args.spec.as_deref().map(load_spec).transpose()?;
    let spec = loaded.as_ref().unwrap_or(args.dialect);
    let mut out = io::stdout().lock();
    let bad = match args.input.as_deref() {
        Some(file) if file != Path::new("-") => {
            let opened = File::open(file).map_err(|error| {
                Failure::Usage(format!("{}: cannot be opened: {error}", file.display()))
            })?;
            lines(BufReader::new(opened), args, spec, &mut out)?
        }
        _ => lines(io::stdin().lock(), args, spec, &mut out)?,
    };
    out.flush().map_err(|error| Failure::output(&error))?;
    if bad { Err(Failure::Found) } else { Ok(()) }
}

/// Whether any line was bad.
fn lines(
    mut input: impl BufRead,
    args: &EncodeArgs,
    spec: &Spec,
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let mut bad = false;
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = input.by_ref().take(limit).read_until(b'\n', &mut line);
        if read.map_err(|error| Failure::Failed(format!("cannot read the input: {error}")))? == 0 {
            break;
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(Failure::Failed(format!(
                "line {number} is longer than {LINE_BYTES_MAX} bytes; expected one message a line"
            )));
        }
        let content = line.trim_ascii();
        if content.is_empty() || content.starts_with(b"#") {
            continue;
        }
        match encode(content, args, spec) {
            Ok(bytes) => write(&bytes, args.binary, out)?,
            Err(what) => {
                bad = true;
                eprintln!("refundry encode: line {number}: {what}");
            }
        }
    }
    Ok(bad)
}

/// The bytes of a message, in its frame.
fn encode(line: &[u8], args: &EncodeArgs, spec: &Spec) -> Result<BytesMut, String> {
    let record: Record = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let (given, expected) = (record.header().len(), usize::from(spec.dialect().header));
    if given != 0 && given != expected {
        return Err(format!(
            "header: it has {given} bytes; messages of this dialect have {expected} in front of the MTI"
        ));
    }
    let mut out = BytesMut::new();
    let mark = args.framing.map(|framing| framing.begin(&mut out));
    record
        .encode(spec, &mut out)
        .map_err(|error| error.to_string())?;
    if let (Some(framing), Some(mark)) = (args.framing, mark) {
        framing
            .finish(&mut out, mark)
            .map_err(|error| error.to_string())?;
    }
    Ok(out)
}

fn write(bytes: &[u8], binary: bool, out: &mut impl Write) -> Result<(), Failure> {
    let written = if binary {
        out.write_all(bytes)
    } else {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        writeln!(out, "{hex}")
    };
    written.map_err(|error| Failure::output(&error))
}
