//! What is written for another system reads as a dialect that has the same bytes.

#![allow(clippy::unwrap_used, reason = "what a test cannot read is its failure")]

mod spec_files;

use iso8583_codec::model::{Body, Dialect, Encoding, Field, Format as Content};
use iso8583_spec::{Format, Loaded, Options, load, parse, write};

use spec_files::specs;

const LENIENT: Options = Options { lenient: true };

fn written(loaded: &Loaded, format: Format) -> (Loaded, Vec<String>) {
    let (text, missing) = write(
        &loaded.dialect,
        &loaded.rules,
        &loaded.switches,
        format,
        LENIENT,
    )
    .unwrap();
    let again = parse(&text, &loaded.dialect.name, format, Options::default())
        .unwrap_or_else(|problems| panic!("{}: {problems:#?}\n{text}", loaded.dialect.name));
    // What is missing is named by its field.
    let missing = missing.into_iter().filter_map(|problem| problem.field);
    (again, missing.collect())
}

/// The same without what does not change the bytes of a message: names, and the letters of formats.
fn bytes_only(field: &Field) -> Field {
    let format = match field.format {
        Content::B | Content::Xn => field.format,
        _ => Content::Any,
    };
    let mut plain = Field {
        format,
        ..field.clone()
    };
    plain.name.clear();
    if let Some(pad) = &mut plain.pad {
        // What is too long is refused before it is sent, or cut: never sent as it is.
        pad.truncate = false;
    }
    if plain.body != Body::Value && plain.encoding == Encoding::Ascii {
        // Whether its bytes together would be text.
        plain.format = Content::B;
        plain.encoding = Encoding::Binary;
    }
    // A name that a system has no place for says nothing of the bytes.
    if let Body::BerTlv(objects) = &mut plain.body {
        objects.fields.clear();
    }
    match &mut plain.body {
        Body::Positional(fields) | Body::Bitmapped { fields, .. } => {
            for field in fields.values_mut() {
                *field = bytes_only(field);
            }
        }
        Body::Tagged(tagged) => {
            for field in tagged.fields.values_mut() {
                *field = bytes_only(field);
            }
        }
        _ => {}
    }
    plain
}

fn compare(name: &str, ours: &Dialect, theirs: &Dialect, missing: &[String]) -> usize {
    assert_eq!(theirs.mti, ours.mti, "{name}");
    assert_eq!(theirs.bitmap.encoding, ours.bitmap.encoding, "{name}");
    let mut same = 0;
    for (de, field) in &ours.fields {
        let named = missing
            .iter()
            .any(|path| *path == de.to_string() || path.starts_with(&format!("{de}.")));
        if named {
            continue;
        }
        let again = theirs.fields.get(de).map(bytes_only);
        assert_eq!(again, Some(bytes_only(field)), "{name}, field {de}");
        same += 1;
    }
    same
}

#[test]
fn jpos_reads_what_is_written_for_it() {
    for path in specs() {
        let name = path.display().to_string();
        let Ok(loaded) = load(&path, LENIENT) else {
            continue;
        };
        let (again, missing) = written(&loaded, Format::Jpos);
        // Of its own files everything comes back, whatever is said of tags without a row.
        let own = loaded.format == Format::Jpos;
        let missing = if own { Vec::new() } else { missing };
        let same = compare(&name, &loaded.dialect, &again.dialect, &missing);
        println!("{name}: {same} of {}", loaded.dialect.fields.len());
        if own {
            assert_eq!(again.dialect.bitmap, loaded.dialect.bitmap, "{name}");
            assert_eq!(again.rules, loaded.rules, "{name}");
        }
    }
}

#[test]
fn moov_reads_what_is_written_for_it() {
    for path in specs() {
        let name = path.display().to_string();
        let Ok(loaded) = load(&path, LENIENT) else {
            continue;
        };
        let (mut again, missing) = written(&loaded, Format::Moov);
        if loaded.dialect.bitmap.encoding != again.dialect.bitmap.encoding {
            assert!(missing.contains(&"1".to_owned()), "{name}");
            again.dialect.bitmap = loaded.dialect.bitmap;
        }
        let same = compare_moov(&name, &loaded.dialect, &again.dialect, &missing);
        println!("{name}: {same} of {}", loaded.dialect.fields.len());
        if loaded.format == Format::Moov {
            assert_eq!(missing, Vec::<String>::new(), "{name}");
        }
    }
}

/// As [`compare`], without how a value that is too long is cut, which those files do not say.
fn compare_moov(name: &str, ours: &Dialect, theirs: &Dialect, missing: &[String]) -> usize {
    let mut ours = ours.clone();
    fn uncut(field: &mut Field) {
        if let Some(pad) = &mut field.pad {
            pad.truncate = false;
            pad.trim = false;
        }
        match &mut field.body {
            Body::Positional(fields) => fields.values_mut().for_each(uncut),
            Body::Bitmapped { fields, bitmap, .. } => {
                // There, a bitmap that may grow may have three parts.
                if bitmap.maps > 1 {
                    bitmap.maps = 3;
                }
                fields.values_mut().for_each(uncut);
            }
            Body::Tagged(tagged) => tagged.fields.values_mut().for_each(uncut),
            _ => {}
        }
    }
    ours.fields.values_mut().for_each(uncut);
    compare(name, &ours, theirs, missing)
}
