//! The XML: elements and attributes to rows, with their places.

use std::collections::BTreeMap;

use roxmltree::Node;

use super::classes::{self, Class, VALIDATORS};
use super::read::Reader;
use crate::error::{Place, Problem, one_of};
use crate::imported::Origin;
use crate::rules::ValueRule;

/// Most levels of subfields.
const LEVELS_MAX: usize = 16;

/// An `isofield` or `isofieldpackager`.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: u16,
    pub(crate) path: String,
    pub(crate) place: Place,
    pub(crate) name: String,
    pub(crate) class: String,
    pub(crate) class_place: Place,
    pub(crate) length: u32,
    pub(crate) length_place: Place,
    pub(crate) pad: bool,
    pub(crate) trim: bool,
    pub(crate) inclusive: bool,
    pub(crate) token: Option<String>,
    pub(crate) charset: Option<String>,
    pub(crate) params: Option<String>,
    pub(crate) packager: Option<Packager>,
}

impl Row {
    /// A problem of this row's class.
    pub(crate) fn problem(&self, what: impl Into<String>) -> Problem {
        Problem::new(what)
            .at(self.class_place)
            .field(&self.path)
            .class(&self.class)
    }

    pub(crate) fn is_bitmap(&self) -> bool {
        matches!(classes::find(&self.class), Some(Class::Bitmap { .. }))
    }
}

/// What packs the fields of a message, or the subfields of a field.
#[derive(Clone, Debug)]
pub(crate) struct Packager {
    pub(crate) class: String,
    pub(crate) place: Place,
    pub(crate) emit_bitmap: bool,
    pub(crate) bitmap_field: u16,
    pub(crate) first_field: Option<u16>,
    pub(crate) third_bitmap_field: Option<u16>,
    pub(crate) header: u16,
    pub(crate) tag_mapper: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) rows: BTreeMap<u16, Row>,
}

impl Reader<'_> {
    pub(crate) fn place(&self, node: Node<'_, '_>) -> Place {
        self.lines.place(node.range().start)
    }

    /// The place of an attribute's value; of the element, if it has none.
    fn attribute_place(&self, node: Node<'_, '_>, name: &str) -> Place {
        node.attribute_node(name).map_or_else(
            || self.place(node),
            |found| self.lines.place(found.range_value().start),
        )
    }

    pub(crate) fn packager(
        &mut self,
        node: Node<'_, '_>,
        path: &str,
        level: usize,
    ) -> Result<Packager, Problem> {
        if level > LEVELS_MAX {
            return Err(Problem::new("too many levels of subfields")
                .at(self.place(node))
                .expected(format!("at most {LEVELS_MAX}")));
        }
        let text = |key: &str| node.attribute(key).map(str::trim).map(str::to_owned);
        for key in ["tagSize", "lenSize", "swapTagAndLen"] {
            if node.attribute(key).is_some() {
                let place = self.attribute_place(node, key);
                self.warn(
                    Problem::new(format!(
                        "{key} is for packagers of one's own; tags are taken as the classes of the subfields have them"
                    ))
                    .at(place)
                    .field(path),
                );
            }
        }
        let mut packager = Packager {
            class: text("packager").unwrap_or_default(),
            place: self.attribute_place(node, "packager"),
            emit_bitmap: self.boolean(node, "emitBitmap", true),
            bitmap_field: self.number(node, "bitmapField")?.unwrap_or(1),
            first_field: self.number(node, "firstField")?,
            third_bitmap_field: self.number(node, "thirdBitmapField")?,
            header: self.number(node, "headerLength")?.unwrap_or(0),
            tag_mapper: text("tagMapper"),
            token: node.attribute("token").map(str::to_owned),
            rows: BTreeMap::new(),
        };
        for child in node.children().filter(Node::is_element) {
            match child.tag_name().name() {
                "isofield" | "isofieldpackager" => {
                    let row = self.row(child, path, level)?;
                    let id = row.id;
                    if let Some(before) = packager.rows.insert(id, row) {
                        let path = before.path.clone();
                        self.warn(
                            Problem::new("this field is there twice; the later row counts")
                                .at(self.place(child))
                                .field(path),
                        );
                    }
                }
                "isofieldvalidator" => self.validator(child, path),
                "isovalidator" => {
                    let class = child.attribute("class").unwrap_or_default().to_owned();
                    let place = self.place(child);
                    self.warn(
                        Problem::new(
                            "a validator of whole messages is program code; it is left out",
                        )
                        .at(place)
                        .class(class),
                    );
                }
                "property" => {}
                other => {
                    return Err(Problem::new(format!("unknown element `{other}`"))
                        .at(self.place(child))
                        .expected(one_of(
                            other,
                            &[
                                "isofield",
                                "isofieldpackager",
                                "isofieldvalidator",
                                "isovalidator",
                            ],
                        )));
                }
            }
        }
        Ok(packager)
    }

    fn row(&mut self, node: Node<'_, '_>, above: &str, level: usize) -> Result<Row, Problem> {
        let place = self.place(node);
        let missing =
            |key: &str| Problem::new(format!("the attribute `{key}` is missing")).at(place);
        let id: u16 = self.number(node, "id")?.ok_or_else(|| missing("id"))?;
        let path = match above {
            "" => id.to_string(),
            above => format!("{above}.{id}"),
        };
        let class = node
            .attribute("class")
            .ok_or_else(|| missing("class").field(&path))?;
        // Some shipped files have blanks around the name.
        let class = class.trim().to_owned();
        let length = self
            .number(node, "length")
            .map_err(|problem| problem.field(&path).class(&class))?
            .ok_or_else(|| missing("length").field(&path).class(&class))?;
        let own = |key: &str| node.attribute(key).map(str::to_owned);
        self.imported.origins.insert(
            path.clone(),
            Origin {
                place: self.attribute_place(node, "class"),
                class: Some(class.clone()),
            },
        );
        let packager = match node.tag_name().name() {
            "isofieldpackager" => Some(self.packager(node, &path, level.saturating_add(1))?),
            _ => {
                for child in node.children().filter(Node::is_element) {
                    if child.tag_name().name() == "isofieldvalidator" {
                        self.validator(child, &path);
                    }
                }
                None
            }
        };
        Ok(Row {
            id,
            place,
            name: own("name").unwrap_or_default().trim().to_owned(),
            class_place: self.attribute_place(node, "class"),
            class,
            length,
            length_place: self.attribute_place(node, "length"),
            pad: self.boolean(node, "pad", false),
            trim: self.boolean(node, "trim", false),
            inclusive: self.boolean(node, "inclusive", false),
            token: own("token"),
            charset: own("encoding"),
            params: own("params"),
            packager,
            path,
        })
    }

    /// As that system reads it: `true` in any case, everything else is false.
    fn boolean(&self, node: Node<'_, '_>, key: &str, default: bool) -> bool {
        node.attribute(key)
            .map_or(default, |text| text.trim().eq_ignore_ascii_case("true"))
    }

    fn number<N: TryFrom<u32>>(&self, node: Node<'_, '_>, key: &str) -> Result<Option<N>, Problem> {
        let Some(text) = node.attribute(key) else {
            return Ok(None);
        };
        let number = text
            .trim()
            .parse::<u32>()
            .ok()
            .and_then(|n| N::try_from(n).ok());
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(
                Problem::new(format!("{key}={text:?} is no number that can be here"))
                    .at(self.attribute_place(node, key)),
            ),
        }
    }

    /// A validator of one field becomes a rule, if it is one of those that need no program.
    fn validator(&mut self, node: Node<'_, '_>, path: &str) {
        let class = node
            .attribute("class")
            .unwrap_or_default()
            .trim()
            .to_owned();
        let place = self.attribute_place(node, "class");
        let mut rule = ValueRule::new(path);
        let short = class.strip_prefix(classes::PACKAGE).unwrap_or(&class);
        let Some((_, asks)) = VALIDATORS.iter().find(|(known, _)| *known == short) else {
            self.warn(
                Problem::new("a validator that is program code; it is left out")
                    .at(place)
                    .field(path)
                    .class(class),
            );
            return;
        };
        (
            rule.alphanumeric,
            rule.numeric,
            rule.not_zero,
            rule.not_blank,
        ) = *asks;
        for property in node.children().filter(Node::is_element) {
            let value = property
                .attribute("value")
                .and_then(|text| text.trim().parse().ok());
            match property.attribute("name") {
                Some("min-len") => rule.length_min = value,
                Some("max-len") => rule.length_max = value,
                _ => {}
            }
        }
        self.imported.rules.values.push(rule);
    }
}
