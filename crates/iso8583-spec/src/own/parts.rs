//! Rules and switches, read.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Place, Problem, one_of};
use crate::rules::{Condition, Conditional, MessageRule, Test, ValueRule};
use crate::switches::{CLASSES, MessageKind, REASONS, Reference, Switches};
use crate::tree::{Node, Tree};

pub(super) fn message_rules(tree: &Tree) -> Result<Vec<MessageRule>, Problem> {
    tree.array()?.iter().map(message_rule).collect()
}

fn message_rule(tree: &Tree) -> Result<MessageRule, Problem> {
    let mut table = tree.table()?;
    let mti = table.needed("mti")?;
    let rule = MessageRule {
        mti: message_type(mti.text()?, true).map_err(|problem| problem.at(mti.place))?,
        processing: table.text("processing")?.unwrap_or_default().to_owned(),
        mandatory: table.get("mandatory").map_or(Ok(BTreeSet::new()), paths)?,
        conditional: match table.get("conditional") {
            Some(conditions) => conditions
                .array()?
                .iter()
                .map(conditional)
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        },
        forbidden: table.get("forbidden").map_or(Ok(BTreeSet::new()), paths)?,
    };
    table.finish()?;
    Ok(rule)
}

/// A message type: four digits, and `x` for any digit where that is meant.
fn message_type(text: &str, wildcards: bool) -> Result<String, Problem> {
    let good = |byte: u8| byte.is_ascii_digit() || (wildcards && byte == b'x');
    if text.len() == 4 && text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    Err(
        Problem::new(format!("{text:?} is no message type")).expected(match wildcards {
            true => "four digits, or x for any digit",
            false => "four digits",
        }),
    )
}

/// The path of a field: a number alone, or text such as `48.3`.
fn path(tree: &Tree) -> Result<String, Problem> {
    match &tree.node {
        Node::Integer(number) if (0..=192).contains(number) => Ok(number.to_string()),
        Node::Text(text) => {
            let mut parts = text.split('.');
            let element = parts.next().and_then(|first| first.parse::<u8>().ok());
            let below = parts.all(|part| {
                !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
            });
            match element {
                Some(0..=192) if below => Ok(text.clone()),
                _ => Err(tree.wrong("the path of a field, such as 4 or \"48.3\"")),
            }
        }
        _ => Err(tree.wrong("the path of a field, such as 4 or \"48.3\"")),
    }
}

fn paths(tree: &Tree) -> Result<BTreeSet<String>, Problem> {
    tree.array()?.iter().map(path).collect()
}

fn texts(tree: &Tree) -> Result<Vec<String>, Problem> {
    let text = |item: &Tree| item.text().map(str::to_owned);
    tree.array()?.iter().map(text).collect()
}

fn conditional(tree: &Tree) -> Result<Conditional, Problem> {
    let mut table = tree.table()?;
    let read = Conditional {
        fields: paths(table.needed("fields")?)?,
        when: condition(table.needed("when")?)?,
        only: table.boolean("only")?,
    };
    table.finish()?;
    Ok(read)
}

fn condition(tree: &Tree) -> Result<Condition, Problem> {
    let mut table = tree.table()?;
    let field = path(table.needed("field")?)?;
    let present = table.get("present").map(Tree::boolean).transpose()?;
    let begins = table.get("begins").map(texts).transpose()?;
    let one_of = table.get("one_of").map(texts).transpose()?;
    let test = match (present, begins, one_of) {
        (Some(true), None, None) => Test::Present,
        (Some(false), None, None) => Test::Absent,
        (None, Some(starts), None) => Test::Begins(starts),
        (None, None, Some(values)) => Test::OneOf(values),
        _ => {
            return Err(Problem::new("it is not clear what the condition is")
                .at(tree.place)
                .expected("one of `present`, `begins`, `one_of`"));
        }
    };
    table.finish()?;
    Ok(Condition { field, test })
}

pub(super) fn value_rules(tree: &Tree) -> Result<Vec<ValueRule>, Problem> {
    tree.array()?.iter().map(value_rule).collect()
}

fn value_rule(tree: &Tree) -> Result<ValueRule, Problem> {
    let mut table = tree.table()?;
    let number = |tree: &Tree| tree.number(0, u32::MAX);
    let rule = ValueRule {
        field: path(table.needed("field")?)?,
        alphanumeric: table.boolean("alphanumeric")?,
        numeric: table.boolean("numeric")?,
        not_zero: table.boolean("not_zero")?,
        not_blank: table.boolean("not_blank")?,
        length_min: table.get("length_min").map(number).transpose()?,
        length_max: table.get("length_max").map(number).transpose()?,
        one_of: table.get("one_of").map_or(Ok(Vec::new()), texts)?,
        begins: table.get("begins").map_or(Ok(Vec::new()), texts)?,
    };
    table.finish()?;
    Ok(rule)
}

pub(super) fn switches(tree: &Tree) -> Result<Switches, Problem> {
    let mut table = tree.table()?;
    let mut switches = Switches::default();
    if let Some(classes) = table.get("classes") {
        for entry in classes.table()?.entries() {
            known(&entry.key, "class of transactions", CLASSES, entry.place)?;
            let kinds = entry.value.array()?.iter().map(message_kind);
            switches
                .classes
                .insert(entry.key.clone(), kinds.collect::<Result<_, _>>()?);
        }
    }
    if let Some(original) = table.get("original") {
        switches.original = original
            .array()?
            .iter()
            .map(reference)
            .collect::<Result<_, _>>()?;
    }
    if let Some(answers) = table.get("answers") {
        switches.answers = answer_codes(answers)?;
    }
    if let Some(approved) = table.get("approved") {
        for code in approved.array()? {
            switches.approved.push(answer_code(code)?);
        }
    }
    table.finish()?;
    Ok(switches)
}

fn known(word: &str, what: &str, words: &[&str], place: Place) -> Result<(), Problem> {
    if words.contains(&word) {
        return Ok(());
    }
    Err(Problem::new(format!("unknown {what} {word:?}"))
        .at(place)
        .expected(one_of(word, words)))
}

/// `0200`, or `0200 20` with the beginning of the processing code.
fn message_kind(tree: &Tree) -> Result<MessageKind, Problem> {
    let text = tree.text()?;
    let (mti, processing) = text.split_once(' ').unwrap_or((text, ""));
    let mti = message_type(mti, false).map_err(|problem| problem.at(tree.place))?;
    let digits = processing.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || processing.len() > 6 {
        return Err(tree.wrong("a message type and the beginning of a processing code: `0200 20`"));
    }
    Ok(MessageKind {
        mti,
        processing: processing.to_owned(),
    })
}

/// One path, or several that name an original together.
fn reference(tree: &Tree) -> Result<Reference, Problem> {
    let fields = match &tree.node {
        Node::Array(parts) => parts.iter().map(path).collect::<Result<_, _>>()?,
        _ => vec![path(tree)?],
    };
    Ok(Reference { fields })
}

fn answer_codes(tree: &Tree) -> Result<BTreeMap<String, String>, Problem> {
    let mut answers = BTreeMap::new();
    for entry in tree.table()?.entries() {
        known(&entry.key, "reason of an answer", REASONS, entry.place)?;
        answers.insert(entry.key.clone(), answer_code(&entry.value)?);
    }
    Ok(answers)
}

fn answer_code(tree: &Tree) -> Result<String, Problem> {
    let text = tree.text()?;
    match text.len() {
        2..=4 if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err(tree.wrong("an answer code of two to four characters")),
    }
}
