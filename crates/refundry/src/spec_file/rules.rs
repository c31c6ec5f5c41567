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
