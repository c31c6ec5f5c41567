//! `refundry spec`: spec files of dialects, looked at and converted.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

use iso8583_codec::model::{
    BerTlv, Bitmap, BitmapEncoding, Body, Dialect, Encoding, Field, Tagged,
};
use iso8583_spec::{Format, Loaded, Options, Problem, load, write};

use crate::Failure;
use crate::cli::{SpecCheckArgs, SpecConvertArgs, SpecFormat};

impl From<SpecFormat> for Format {
    fn from(format: SpecFormat) -> Self {
        match format {
            SpecFormat::Toml => Self::Own,
            SpecFormat::Jpos => Self::Jpos,
            SpecFormat::Moov => Self::Moov,
        }
    }
}

/// Reads a spec file and says what it has in it.
///
/// # Errors
/// [`Failure::Usage`] with everything that is wrong with the file.
pub fn check(args: &SpecCheckArgs) -> Result<(), Failure> {
    let loaded = loaded(&args.file, args.lenient)?;
    let file = args.file.display();
    let mut text = summary(&loaded);
    for warning in &loaded.warnings {
        let _ = match warning.place {
            Some(place) => writeln!(
                text,
                "warning: {file}:{}:{}: {warning}",
                place.line, place.column
            ),
            None => writeln!(text, "warning: {file}: {warning}"),
        };
    }
    print(&text)
}

/// Writes a spec file in another format.
///
/// # Errors
/// [`Failure::Usage`] for a file that cannot be read, or that says something for which the other format has no words;
/// [`Failure::Failed`] if the output cannot be written.
pub fn convert(args: &SpecConvertArgs) -> Result<(), Failure> {
    let loaded = loaded(&args.file, args.lenient)?;
    let file = args.file.display();
    for warning in &loaded.warnings {
        eprintln!("warning: {file}: {warning}");
    }
    let options = Options {
        lenient: args.lenient,
    };
    let written = write(
        &loaded.dialect,
        &loaded.rules,
        &loaded.switches,
        args.to.into(),
        options,
    );
    let (text, missing) = written.map_err(|problem| {
        Failure::Usage(format!(
            "{file}: this cannot be said in the other format: {problem}; --lenient leaves it out"
        ))
    })?;
    for problem in &missing {
        eprintln!("warning: not the same in the other format: {problem}");
    }
    match &args.output {
        Some(path) => fs::write(path, text)
            .map_err(|error| Failure::Failed(format!("{}: {error}", path.display()))),
        None => print(&text),
    }
}

fn loaded(file: &std::path::Path, lenient: bool) -> Result<Loaded, Failure> {
    load(file, Options { lenient }).map_err(|error| {
        let hint = match lenient || error.problems.iter().all(|problem| !tolerable(problem)) {
            true => "",
            false => "\n--lenient reads what it can of the file and warns of the rest",
        };
        Failure::Usage(format!("{error}{hint}"))
    })
}

/// Whether leniency may help: what is wrong with one field, it may.
fn tolerable(problem: &Problem) -> bool {
    problem.field.is_some()
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::output(&error))
}

fn summary(loaded: &Loaded) -> String {
    let dialect = &loaded.dialect;
    let kind = match loaded.format {
        Format::Own => "TOML",
        Format::Jpos => "jPOS XML packager",
        Format::Moov => "moov JSON",
    };
    let mut text = format!("{} ({kind})\n", dialect.name);
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "  {what:<16}{value}");
    };
    if dialect.header > 0 {
        line(
            "header",
            format!("{} bytes, kept as they are", dialect.header),
        );
    }
    line("message type", encoding(dialect.mti));
    line("bitmap", bitmap(&dialect.bitmap));
    line("elements", elements(dialect));
    let compound: Vec<String> = dialect
        .fields
        .iter()
        .filter_map(|(de, field)| subfields(field).map(|what| format!("{de} ({what})")))
        .collect();
    if !compound.is_empty() {
        line("with subfields", compound.join(", "));
    }
    if !loaded.rules.is_empty() {
        line(
            "rules",
            format!(
                "{} of messages, {} of values",
                loaded.rules.messages.len(),
                loaded.rules.values.len()
            ),
        );
    }
    if !loaded.switches.is_empty() {
        let switches = &loaded.switches;
        line(
            "switches",
            format!(
                "{} classes, {} ways to name an original, {} answer codes",
                switches.classes.len(),
                switches.original.len(),
                switches.answers.len()
            ),
        );
    }
    text
}

/// How many elements there are, and which, in ranges.
fn elements(dialect: &Dialect) -> String {
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    for &de in dialect.fields.keys() {
        match ranges.last_mut() {
            Some((_, last)) if last.saturating_add(1) == de => *last = de,
            _ => ranges.push((de, de)),
        }
    }
    let ranges: Vec<String> = ranges
        .into_iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    format!("{}: {}", dialect.fields.len(), ranges.join(" "))
}

fn encoding(encoding: Encoding) -> String {
    match encoding {
        Encoding::Ascii => "ASCII",
        Encoding::Ebcdic037 => "EBCDIC (037)",
        Encoding::Ebcdic1047 => "EBCDIC (1047)",
        Encoding::Bcd(_) => "BCD",
        other => return format!("{other:?}"),
    }
    .to_owned()
}

fn bitmap(bitmap: &Bitmap) -> String {
    let written = match bitmap.encoding {
        BitmapEncoding::Binary => "binary",
        BitmapEncoding::Hex => "hexadecimal digits",
        BitmapEncoding::EbcdicHex => "EBCDIC hexadecimal digits",
    };
    let third = match bitmap.third_in {
        Some(de) => format!(", a third in element {de}"),
        None => String::new(),
    };
    format!(
        "{written}, up to {} of {} bytes{third}",
        bitmap.maps, bitmap.bytes
    )
}

fn subfields(field: &Field) -> Option<String> {
    Some(match &field.body {
        Body::Value => return None,
        Body::Positional(fields) => format!("{} one after the other", fields.len()),
        Body::Bitmapped { fields, .. } => format!("{} by bitmap", fields.len()),
        Body::Tagged(Tagged { fields, .. }) => format!("{} by tag", fields.len()),
        Body::BerTlv(BerTlv { fields, .. }) => match fields.len() {
            0 => "BER-TLV".to_owned(),
            count => format!("BER-TLV, {count} named"),
        },
        Body::Datasets { fields, .. } => format!("datasets, {} elements", fields.len()),
    })
}
