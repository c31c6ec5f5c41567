//! The rules of a spec file, asked of the messages of terminals.

use iso8583_codec::{Format, Message, Subfield};
use iso8583_spec::{Rules, Violation};

/// Violations that are said of one message; the first ones tell the story.
const SAID_MAX: usize = 4;

/// The rules of a file.
#[derive(Debug)]
pub(super) struct FileRules(Rules);

impl FileRules {
    pub(super) fn boxed(rules: Rules) -> Box<dyn switch_core::Rules> {
        Box::new(FileRules(rules))
    }
}

impl switch_core::Rules for FileRules {
    /// What is asked of a message is asked of its repeats too.
    fn broken(&self, message: &Message<'_>) -> Option<String> {
        // What cannot be read would get round whatever is asked of it.
        let unread = |de| message.subfields(de).and_then(Result::err);
        if let Some(error) = message.elements().find_map(unread) {
            return Some(error.to_string());
        }
        let mti = message.mti();
        let mut found = self.0.check(&mti.to_string(), |path| value(message, path));
        if mti.is_repeat() {
            let first = mti.without_repeat().to_string();
            let more = self.0.check(&first, |path| value(message, path));
            found.extend(more);
        }
        let said: Vec<String> = found
            .iter()
            .take(SAID_MAX)
            .map(Violation::to_string)
            .collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// The text of an element or subfield; empty for bytes and for what has subfields.
fn value(message: &Message<'_>, path: &str) -> Option<String> {
    let (element, below) = match path.split_once('.') {
        Some((element, below)) => (element, Some(below)),
        None => (path, None),
    };
    let de: u8 = element.parse().ok()?;
    if !message.has(de) {
        return None;
    }
    let field = message.subfields(de)?.ok()?;
    let field = match below {
        Some(path) => field.find(path)?,
        None => &field,
    };
    Some(text(field))
}

fn text(field: &Subfield<'_>) -> String {
    match field.value() {
        Some(value) if field.field().is_some_and(|row| row.format != Format::B) => {
            String::from_utf8_lossy(value).into_owned()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use iso8583_codec::Spec;
    use iso8583_codec::model::{Body, Dialect, Field, Prefix};
    use iso8583_spec::{MessageRule, ValueRule};
    use switch_core::Rules as _;

    use super::*;

    #[test]
    fn subfields_that_cannot_be_read_break_the_rules() {
        let subfield = |name| Field::variable(name, Format::Ans, Prefix::ascii(2), 99);
        let parts = BTreeMap::from([(1, subfield("One")), (2, subfield("Two"))]);
        let private = Field::variable("Private", Format::Ans, Prefix::ascii(3), 999);
        let dialect = Dialect::new("nested").with(48, private.with_body(Body::Positional(parts)));
        let spec = Spec::compile(&dialect).unwrap();
        let rules = FileRules(Rules {
            messages: vec![MessageRule {
                mti: "0200".to_owned(),
                forbidden: BTreeSet::from(["48.2".to_owned()]),
                ..MessageRule::default()
            }],
            values: vec![ValueRule {
                one_of: vec!["abc".to_owned()],
                ..ValueRule::new("48.1")
            }],
        });
        let broken = |private: &str| {
            let text = format!("02000000000000010000{:03}{private}", private.len());
            rules.broken(&spec.decode(text.as_bytes()).unwrap())
        };
        assert_eq!(broken("03abc"), None);
        assert!(broken("03abd").unwrap().contains("expected one of abc"));
        assert!(broken("03abc02xy").unwrap().contains("48.2"));
        for unreadable in ["03abc02xy9", "03abd99", "03ab"] {
            let said = broken(unreadable).unwrap();
            assert!(said.starts_with("data element 48"), "{said}");
        }
    }
}
