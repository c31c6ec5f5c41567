//! Any dialect, with any rules and switches, written as our own file reads as the same.

#![allow(clippy::unwrap_used, reason = "what a test cannot read is its failure")]

use std::collections::{BTreeMap, BTreeSet};

use iso8583_codec::Spec;
use iso8583_codec::model::{
    Bcd, BerTlv, Bitmap, BitmapEncoding, Body, Counts, Dialect, Encoding, Field, Format as Content,
    Item, Lead, Length, Order, Pad, Prefix, PrefixEncoding, Side, Tagged, Unknown,
};
use iso8583_spec::{
    CLASSES, Condition, Conditional, Format, MessageKind, MessageRule, Options, REASONS, Reference,
    Rules, Switches, Test, ValueRule, parse, write,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Names as people write them: with quotes, line ends and other scripts.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z ,]{0,20}",
        "\\PC{0,8}",
        Just("a\"b'c\\\n\t[x]\u{7f}".to_owned())
    ]
}

fn side() -> impl Strategy<Value = Side> {
    select(&[Side::Left, Side::Right][..])
}

fn packed() -> impl Strategy<Value = Bcd> {
    (side(), 0..16u8).prop_map(|(odd, filler)| Bcd { odd, filler })
}

fn encoding() -> impl Strategy<Value = Encoding> {
    prop_oneof![
        Just(Encoding::Ascii),
        Just(Encoding::Ebcdic037),
        Just(Encoding::Ebcdic1047),
        Just(Encoding::Binary),
        Just(Encoding::HexAscii),
        Just(Encoding::HexEbcdic),
        select(&[0xC, 0xF][..]).prop_map(|positive| Encoding::EbcdicOverpunch { positive }),
        packed().prop_map(Encoding::Bcd),
        packed().prop_map(Encoding::Nibbles),
    ]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    let encodings = [
        PrefixEncoding::Ascii,
        PrefixEncoding::Ebcdic,
        PrefixEncoding::Bcd,
        PrefixEncoding::Binary,
        PrefixEncoding::Hex,
        PrefixEncoding::EbcdicHex,
    ];
    let counts = [Counts::Units, Counts::Bytes, Counts::Nibbles];
    let digits = 1..=4u8;
    (
        digits,
        select(encodings.to_vec()),
        select(counts.to_vec()),
        any::<bool>(),
    )
        .prop_map(|(digits, encoding, counts, inclusive)| Prefix {
            digits,
            encoding,
            counts,
            inclusive,
        })
}

fn length() -> impl Strategy<Value = Length> {
    prop_oneof![
        (0..999u32).prop_map(Length::Fixed),
        (prefix(), 0..9u32).prop_map(|(prefix, max)| Length::Variable { prefix, max }),
        (prefix(), 0..9u32).prop_map(|(prefix, size)| Length::Filled { prefix, size }),
        (vec(any::<u8>(), 1..8), 0..999u32, any::<bool>())
            .prop_map(|(token, max, or_end)| Length::Terminated { token, max, or_end }),
        (0..999u32).prop_map(|max| Length::Rest { max }),
    ]
}

fn pad() -> impl Strategy<Value = Option<Pad>> {
    option::of(
        (side(), any::<u8>(), any::<bool>(), any::<bool>()).prop_map(
            |(side, with, trim, truncate)| Pad {
                side,
                with,
                trim,
                truncate,
            },
        ),
    )
}

fn bitmap() -> impl Strategy<Value = Bitmap> {
    let encodings = [
        BitmapEncoding::Binary,
        BitmapEncoding::Hex,
        BitmapEncoding::EbcdicHex,
    ];
    (
        select(encodings.to_vec()),
        1..9u8,
        1..4u8,
        any::<bool>(),
        option::of(2..128u8),
        any::<u8>(),
    )
        .prop_map(
            |(encoding, bytes, maps, always, third_in, all_up_to)| Bitmap {
                encoding,
                bytes,
                maps,
                always,
                third_in,
                all_up_to,
            },
        )
}

fn unknown() -> impl Strategy<Value = Unknown> {
    select(&[Unknown::Keep, Unknown::Skip, Unknown::Refuse][..])
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        option::of(prefix()).prop_map(|unknown| Item::Own { unknown }),
        prefix().prop_map(Item::TagLength),
        (prefix(), any::<bool>())
            .prop_map(|(prefix, counts_tag)| Item::LengthTag { prefix, counts_tag }),
    ]
}

fn field_with(body: impl Strategy<Value = Body>) -> impl Strategy<Value = Field> {
    let formats = [
        Content::N,
        Content::An,
        Content::Ans,
        Content::Z,
        Content::Xn,
        Content::B,
        Content::Any,
    ];
    let format = select(formats.to_vec());
    (name(), format, length(), encoding(), pad(), body).prop_map(
        |(name, format, length, encoding, pad, body)| Field {
            name,
            format,
            length,
            encoding,
            pad,
            body,
        },
    )
}

fn objects(field: impl Strategy<Value = Field>) -> impl Strategy<Value = BerTlv> {
    let tags = select(&["9F02", "95", "DF8101", "5A"][..]).prop_map(str::to_owned);
    (btree_map(tags, field, 0..3), unknown(), any::<bool>()).prop_map(
        |(fields, unknown, open_constructed)| BerTlv {
            fields,
            unknown,
            open_constructed,
        },
    )
}

fn tagged(field: impl Strategy<Value = Field> + Clone) -> impl Strategy<Value = Tagged> {
    let lead = (field.clone(), any::<bool>())
        .prop_map(|(field, optional)| Box::new(Lead { field, optional }));
    let fields = btree_map("[A-Z0-9 .]{2}", field, 0..3);
    let orders = select(&[Order::AsGiven, Order::ByTag][..]);
    (
        fields,
        option::of(lead),
        item(),
        encoding(),
        any::<bool>(),
        unknown(),
        orders,
    )
        .prop_map(
            |(fields, lead, item, tag_encoding, numbers, unknown, order)| Tagged {
                tag_width: 2,
                tag_encoding,
                item,
                lead,
                fields,
                numbers,
                unknown,
                order,
            },
        )
}

fn field() -> impl Strategy<Value = Field> {
    let leaf = field_with(Just(Body::Value)).boxed();
    leaf.prop_recursive(3, 24, 4, |inner| {
        let rows = || btree_map(0..200u16, inner.clone(), 0..4);
        field_with(prop_oneof![
            Just(Body::Value),
            rows().prop_map(Body::Positional),
            (0..3u16, bitmap(), rows()).prop_map(|(header, bitmap, fields)| Body::Bitmapped {
                header,
                bitmap,
                fields,
            }),
            tagged(inner.clone()).prop_map(Body::Tagged),
            objects(inner.clone()).prop_map(Body::BerTlv),
            (rows(), objects(inner.clone()))
                .prop_map(|(fields, tlv)| Body::Datasets { fields, tlv }),
        ])
        .boxed()
    })
}

fn dialect() -> impl Strategy<Value = Dialect> {
    let fields = btree_map(1..=192u8, field(), 0..6);
    (name(), name(), 0..99u16, encoding(), bitmap(), fields).prop_map(
        |(name, description, header, mti, bitmap, fields)| Dialect {
            name,
            description,
            header,
            mti,
            bitmap,
            fields,
        },
    )
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..=192u8).prop_map(|de| de.to_string()),
        (0..=192u8, "[A-Z0-9]{1,4}").prop_map(|(de, key)| format!("{de}.{key}")),
    ]
}

fn paths() -> impl Strategy<Value = BTreeSet<String>> {
    btree_set(path(), 0..4)
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(name(), 1..3)
}

fn conditional() -> impl Strategy<Value = Conditional> {
    let test = prop_oneof![
        Just(Test::Present),
        Just(Test::Absent),
        texts().prop_map(Test::Begins),
        texts().prop_map(Test::OneOf),
    ];
    (paths(), path(), test, any::<bool>()).prop_map(|(fields, field, test, only)| Conditional {
        fields,
        when: Condition { field, test },
        only,
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let message = (
        "[0-9x]{4}",
        "[0-9]{0,6}",
        paths(),
        vec(conditional(), 0..3),
        paths(),
    )
        .prop_map(
            |(mti, processing, mandatory, conditional, forbidden)| MessageRule {
                mti,
                processing,
                mandatory,
                conditional,
                forbidden,
            },
        );
    let value = (
        path(),
        any::<[bool; 4]>(),
        option::of(0..99u32),
        option::of(0..99u32),
        vec(name(), 0..3),
        vec(name(), 0..3),
    )
        .prop_map(
            |(field, flags, length_min, length_max, one_of, begins)| ValueRule {
                field,
                alphanumeric: flags[0],
                numeric: flags[1],
                not_zero: flags[2],
                not_blank: flags[3],
                length_min,
                length_max,
                one_of,
                begins,
            },
        );
    (vec(message, 0..3), vec(value, 0..3)).prop_map(|(messages, values)| Rules { messages, values })
}

fn switches() -> impl Strategy<Value = Switches> {
    let kind =
        ("[0-9]{4}", "[0-9]{0,6}").prop_map(|(mti, processing)| MessageKind { mti, processing });
    let class = select(CLASSES).prop_map(str::to_owned);
    let reason = select(REASONS).prop_map(str::to_owned);
    (
        btree_map(class, vec(kind, 1..3), 0..3),
        vec(
            vec(path(), 1..3).prop_map(|fields| Reference { fields }),
            0..3,
        ),
        btree_map(reason, "[0-9A-Z]{2,4}", 0..3),
        vec("[0-9]{2}", 0..3),
    )
        .prop_map(|(classes, original, answers, approved)| Switches {
            classes,
            original,
            answers,
            approved,
        })
}

/// Reading a file needs a dialect that compiles. What does not is not written by anybody: it is left out here.
fn only_what_compiles(mut dialect: Dialect) -> Dialect {
    if Spec::compile(&Dialect {
        fields: BTreeMap::new(),
        ..dialect.clone()
    })
    .is_err()
    {
        dialect.mti = Encoding::Ascii;
        dialect.bitmap = Bitmap::default();
    }
    let fields = std::mem::take(&mut dialect.fields);
    for (de, field) in fields {
        let with = dialect.clone().with(de, field);
        if Spec::compile(&with).is_ok() {
            dialect = with;
        }
    }
    dialect
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn our_own_file_says_everything(dialect in dialect(), rules in rules(), switches in switches()) {
        let dialect = only_what_compiles(dialect);
        let (text, missing) =
            write(&dialect, &rules, &switches, Format::Own, Options::default()).unwrap();
        prop_assert!(missing.is_empty());
        let loaded = parse(&text, "", Format::Own, Options::default());
        let loaded = loaded.map_err(|problems| TestCaseError::fail(format!("{problems:#?}\n{text}")))?;
        prop_assert_eq!(loaded.dialect, dialect);
        prop_assert_eq!(loaded.rules, rules);
        prop_assert_eq!(loaded.switches, switches);
    }

    /// Whatever stands in a file, it is read or refused.
    #[test]
    fn no_file_is_too_strange(text in "[\\[\\]{}<>=\"'a-z0-9.,:/! \n-]{0,80}") {
        for format in [Format::Own, Format::Jpos, Format::Moov] {
            let _ = parse(&text, "", format, Options { lenient: true });
        }
    }

    /// A file of which a part is missing, or has other letters, is read or refused.
    #[test]
    fn no_damage_is_too_strange(
        file in select(&["host.toml", "packager.xml", "moov.json"][..]),
        from in any::<prop::sample::Index>(),
        bytes in 0..40usize,
        instead in "[\"<>{}0-9a-z= \\[\\]&;]{0,4}",
    ) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/specs");
        let mut text = std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
        let start = from.index(text.len());
        text.replace_range(start..(start + bytes).min(text.len()), &instead);
        let format = Format::of(std::path::Path::new(file), &text);
        for lenient in [false, true] {
            if let Err(problems) = parse(&text, "", format, Options { lenient }) {
                prop_assert!(!problems.is_empty());
            }
        }
    }
}
