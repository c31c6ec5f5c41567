//! From a dialect to the file. What is as it would be anyway is not written.

use std::collections::BTreeMap;
use std::fmt::Display;

use iso8583_codec::model::{
    BerTlv, Bitmap, Body, Counts, Dialect, Encoding, Field, Item, Length, Order, Prefix, Tagged,
    Unknown,
};

use super::words::{self, word};
use crate::rules::{Conditional, MessageRule, Rules, Test, ValueRule};
use crate::switches::Switches;

/// Writes a file that reads as the same dialect, rules and switches.
pub(crate) fn export(dialect: &Dialect, rules: &Rules, switches: &Switches) -> String {
    let mut out = Writer::default();
    out.text("name", &dialect.name);
    if !dialect.description.is_empty() {
        out.text("description", &dialect.description);
    }
    out.table("message");
    if dialect.header > 0 {
        out.value("header", dialect.header);
    }
    out.text("mti", &words::write_encoding(dialect.mti));
    out.value("bitmap", inline_bitmap(&dialect.bitmap));
    for (de, field) in &dialect.fields {
        out.field(&format!("fields.{de}"), field);
    }
    for rule in &rules.messages {
        out.message_rule(rule);
    }
    for rule in &rules.values {
        out.value_rule(rule);
    }
    out.switches(switches);
    out.text
}

/// How a field is written, in the words of the file, on one line.
pub(crate) fn one_line(field: &Field) -> String {
    let mut out = Writer::default();
    out.field_keys(&Field {
        name: String::new(),
        ..field.clone()
    });
    out.text.trim_end().replace('\n', ", ")
}

#[derive(Default)]
struct Writer {
    text: String,
}

/// Text as the file quotes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A key, in quotes where it needs them.
fn key(text: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !text.is_empty() && text.bytes().all(bare) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

fn list<T>(items: impl IntoIterator<Item = T>, write: impl Fn(T) -> String) -> String {
    let items: Vec<String> = items.into_iter().map(write).collect();
    format!("[{}]", items.join(", "))
}

fn texts(items: &[String]) -> String {
    list(items, |text| quoted(text))
}

/// A path as a number where it is one.
fn path(text: &str) -> String {
    match text.parse::<u8>() {
        Ok(number) if number.to_string() == text => text.to_owned(),
        _ => quoted(text),
    }
}

fn paths<'a>(items: impl IntoIterator<Item = &'a String>) -> String {
    list(items, |text| path(text))
}

fn inline_bitmap(bitmap: &Bitmap) -> String {
    let mut parts = vec![
        format!(
            "encoding = {}",
            quoted(word(&bitmap.encoding, words::BITMAPS))
        ),
        format!("bytes = {}", bitmap.bytes),
        format!("maps = {}", bitmap.maps),
    ];
    if bitmap.always {
        parts.push("always = true".to_owned());
    }
    if bitmap.all_up_to > 0 {
        parts.push(format!("all_up_to = {}", bitmap.all_up_to));
    }
    if let Some(de) = bitmap.third_in {
        parts.push(format!("third_in = {de}"));
    }
    format!("{{ {} }}", parts.join(", "))
}

fn inline_prefix(prefix: &Prefix) -> String {
    let mut parts = vec![
        format!("digits = {}", prefix.digits),
        format!(
            "encoding = {}",
            quoted(word(&prefix.encoding, words::PREFIXES))
        ),
    ];
    if prefix.counts != Counts::Units {
        parts.push(format!(
            "counts = {}",
            quoted(word(&prefix.counts, words::COUNTS))
        ));
    }
    if prefix.inclusive {
        parts.push("inclusive = true".to_owned());
    }
    format!("{{ {} }}", parts.join(", "))
}

impl Writer {
    fn value(&mut self, key: &str, value: impl Display) {
        self.text.push_str(&format!("{key} = {value}\n"));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.value(key, quoted(value));
    }

    fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.value(key, true);
        }
    }

    fn table(&mut self, path: &str) {
        self.text.push_str(&format!("\n[{path}]\n"));
    }

    fn item(&mut self, path: &str) {
        self.text.push_str(&format!("\n[[{path}]]\n"));
    }

    fn field(&mut self, path: &str, field: &Field) {
        self.table(path);
        self.field_keys(field);
        self.body(path, &field.body);
    }

    fn field_keys(&mut self, field: &Field) {
        if !field.name.is_empty() {
            self.text("name", &field.name);
        }
        self.text("format", word(&field.format, words::FORMATS));
        self.length(&field.length);
        let usual = Field::new("", field.format, field.length.clone());
        if field.encoding != usual.encoding {
            self.text("encoding", &words::write_encoding(field.encoding));
        }
        if field.pad != usual.pad {
            self.text("pad", &words::write_pad(field.pad));
        }
    }

    fn length(&mut self, length: &Length) {
        match length {
            Length::Fixed(units) => self.value("length", units),
            Length::Filled { prefix, size } => {
                self.value("length", size);
                self.value("prefix", inline_prefix(prefix));
            }
            Length::Variable { prefix, max } => {
                self.value("max", max);
                self.value("prefix", inline_prefix(prefix));
            }
            Length::Terminated { token, max, or_end } => {
                self.value("max", max);
                let digits: String = token.iter().map(|byte| format!("{byte:02X}")).collect();
                self.text("ends_with", &digits);
                self.flag("or_end", *or_end);
            }
            Length::Rest { max } => {
                self.value("max", max);
                self.flag("rest", true);
            }
        }
    }

    fn body(&mut self, path: &str, body: &Body) {
        match body {
            Body::Value => {}
            Body::Positional(fields) => {
                self.text("subfields", "positional");
                self.rows(path, fields);
            }
            Body::Bitmapped {
                header,
                bitmap,
                fields,
            } => {
                self.text("subfields", "bitmapped");
                if *header > 0 {
                    self.value("header", header);
                }
                self.value("bitmap", inline_bitmap(bitmap));
                self.rows(path, fields);
            }
            Body::Tagged(tagged) => self.tagged(path, tagged),
            Body::BerTlv(objects) => {
                self.text("subfields", "ber-tlv");
                self.tlv(path, objects);
            }
            Body::Datasets { fields, tlv } => {
                self.text("subfields", "datasets");
                self.tlv(path, tlv);
                self.rows(path, fields);
            }
        }
    }

    fn rows<N: Display>(&mut self, path: &str, fields: &BTreeMap<N, Field>) {
        for (number, field) in fields {
            self.field(
                &format!("{path}.fields.{}", key(&number.to_string())),
                field,
            );
        }
    }

    fn tlv(&mut self, path: &str, objects: &BerTlv) {
        if *objects == BerTlv::default() {
            return;
        }
        self.table(&format!("{path}.tlv"));
        if objects.unknown != Unknown::Keep {
            self.text("unknown", word(&objects.unknown, words::UNKNOWN));
        }
        self.flag("open_constructed", objects.open_constructed);
        self.rows(&format!("{path}.tlv"), &objects.fields);
    }

    fn tagged(&mut self, path: &str, tagged: &Tagged) {
        self.text("subfields", "tagged");
        self.table(&format!("{path}.tag"));
        self.value("width", tagged.tag_width);
        if tagged.tag_encoding != Encoding::Ascii {
            self.text("encoding", &words::write_encoding(tagged.tag_encoding));
        }
        let (item, prefix, counts_tag) = match &tagged.item {
            Item::Own { unknown } => ("own", unknown.as_ref(), false),
            Item::TagLength(prefix) => ("tag-length", Some(prefix), false),
            Item::LengthTag { prefix, counts_tag } => ("length-tag", Some(prefix), *counts_tag),
        };
        self.text("item", item);
        if let Some(prefix) = prefix {
            self.value("prefix", inline_prefix(prefix));
        }
        self.flag("counts_tag", counts_tag);
        self.flag("numbers", tagged.numbers);
        if tagged.unknown != Unknown::Keep {
            self.text("unknown", word(&tagged.unknown, words::UNKNOWN));
        }
        if tagged.order != Order::AsGiven {
            self.text("order", word(&tagged.order, words::ORDERS));
        }
        if let Some(lead) = &tagged.lead {
            let path = format!("{path}.lead");
            self.table(&path);
            self.field_keys(&lead.field);
            self.flag("optional", lead.optional);
            self.body(&path, &lead.field.body);
        }
        self.rows(path, &tagged.fields);
    }

    fn message_rule(&mut self, rule: &MessageRule) {
        self.item("message_rules");
        self.text("mti", &rule.mti);
        if !rule.processing.is_empty() {
            self.text("processing", &rule.processing);
        }
        if !rule.mandatory.is_empty() {
            self.value("mandatory", paths(&rule.mandatory));
        }
        if !rule.forbidden.is_empty() {
            self.value("forbidden", paths(&rule.forbidden));
        }
        if !rule.conditional.is_empty() {
            self.value("conditional", list(&rule.conditional, inline_conditional));
        }
    }

    fn value_rule(&mut self, rule: &ValueRule) {
        self.item("value_rules");
        self.value("field", path(&rule.field));
        self.flag("alphanumeric", rule.alphanumeric);
        self.flag("numeric", rule.numeric);
        self.flag("not_zero", rule.not_zero);
        self.flag("not_blank", rule.not_blank);
        if let Some(min) = rule.length_min {
            self.value("length_min", min);
        }
        if let Some(max) = rule.length_max {
            self.value("length_max", max);
        }
        if !rule.one_of.is_empty() {
            self.value("one_of", texts(&rule.one_of));
        }
        if !rule.begins.is_empty() {
            self.value("begins", texts(&rule.begins));
        }
    }

    fn switches(&mut self, switches: &Switches) {
        if switches.is_empty() {
            return;
        }
        self.table("switch");
        if !switches.original.is_empty() {
            let original = list(&switches.original, |reference| {
                match reference.fields.as_slice() {
                    [field] => path(field),
                    fields => paths(fields),
                }
            });
            self.value("original", original);
        }
        if !switches.approved.is_empty() {
            self.value("approved", texts(&switches.approved));
        }
        if !switches.classes.is_empty() {
            self.table("switch.classes");
            for (class, kinds) in &switches.classes {
                let kinds = list(kinds, |kind| {
                    quoted(format!("{} {}", kind.mti, kind.processing).trim_end())
                });
                self.value(class, kinds);
            }
        }
        if !switches.answers.is_empty() {
            self.table("switch.answers");
            for (reason, code) in &switches.answers {
                self.text(reason, code);
            }
        }
    }
}

fn inline_conditional(conditional: &Conditional) -> String {
    let test = match &conditional.when.test {
        Test::Present => "present = true".to_owned(),
        Test::Absent => "present = false".to_owned(),
        Test::Begins(starts) => format!("begins = {}", texts(starts)),
        Test::OneOf(values) => format!("one_of = {}", texts(values)),
    };
    let only = if conditional.only {
        ", only = true"
    } else {
        ""
    };
    format!(
        "{{ fields = {}, when = {{ field = {}, {test} }}{only} }}",
        paths(&conditional.fields),
        path(&conditional.when.field),
    )
}
