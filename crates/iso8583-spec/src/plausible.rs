//! What a dialect may say, though its author hardly meant it.

use iso8583_codec::model::{Body, Encoding, Field, Format, Length};

use crate::error::Problem;
use crate::imported::Imported;

/// Warns of fields of fixed length whose subfields, all of fixed length too, are longer or shorter together.
pub(crate) fn look(imported: &mut Imported) {
    let mut found = Vec::new();
    for (de, field) in &imported.dialect.fields {
        look_at(&de.to_string(), field, &mut found);
    }
    for (path, what) in found {
        let problem = Problem::new(what).field(&path);
        let place = imported.origins.get(&path).map(|origin| origin.place);
        imported.warnings.push(match place {
            Some(place) => problem.at(place),
            None => problem,
        });
    }
}

fn look_at(path: &str, field: &Field, found: &mut Vec<(String, String)>) {
    match &field.body {
        Body::Positional(fields) => {
            let together = fields.values().map(bytes).sum::<Option<u64>>();
            if let (Length::Fixed(room), Some(together)) = (&field.length, together)
                && u64::from(*room) != together
                && !fields.is_empty()
            {
                found.push((
                    path.to_owned(),
                    format!("its subfields are {together} bytes together, and it has {room}"),
                ));
            }
            for (number, inner) in fields {
                look_at(&format!("{path}.{number}"), inner, found);
            }
        }
        Body::Bitmapped { fields, .. } | Body::Datasets { fields, .. } => {
            for (number, inner) in fields {
                look_at(&format!("{path}.{number}"), inner, found);
            }
        }
        Body::Tagged(tagged) => {
            for (tag, inner) in &tagged.fields {
                look_at(&format!("{path}.{tag}"), inner, found);
            }
        }
        Body::Value | Body::BerTlv(_) => {}
    }
}

/// Bytes of a field of fixed length in a message; none, if its length varies.
fn bytes(field: &Field) -> Option<u64> {
    let Length::Fixed(units) = field.length else {
        return None;
    };
    let units = u64::from(units);
    Some(match (field.encoding, field.format) {
        // The sign has a byte of its own.
        (Encoding::Bcd(_), Format::Xn) => units.saturating_sub(1).div_ceil(2).saturating_add(1),
        (Encoding::Bcd(_) | Encoding::Nibbles(_), _) => units.div_ceil(2),
        (Encoding::HexAscii | Encoding::HexEbcdic, _) => units.saturating_mul(2),
        _ => units,
    })
}
