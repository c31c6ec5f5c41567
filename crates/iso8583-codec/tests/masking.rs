//! What people see of a message: escaped, masked, in words.

mod one_message;

use std::collections::BTreeMap;

use bytes::BytesMut;
use iso8583_codec::describe::{to_json, to_table};
use iso8583_codec::model::{BerTlv, Body, Dialect, Field, Format, Prefix};
use iso8583_codec::{Mti, Record, Spec};

use one_message::with_message;

const PAN: &str = "4761739001010119";
const PAN_MASKED: &str = "476173******0119";

fn check(spec: &'static Spec, elements: &[(u8, &[u8])], masked: &str, clear: &str) {
    with_message(spec, elements, |message| {
        assert_eq!(
            to_json(message, false),
            format!("{{\"mti\":\"0200\",\"fields\":{{{masked}}}}}")
        );
        assert_eq!(
            to_json(message, true),
            format!("{{\"mti\":\"0200\",\"fields\":{{{clear}}}}}")
        );
    });
}

#[test]
fn tracks_in_other_elements_are_masked() {
    for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
        check(
            spec,
            &[(48, b"4761739001010119=29122011758928889")],
            "\"48\":\"476173******0119=*****************\"",
            "\"48\":\"4761739001010119=29122011758928889\"",
        );
        check(
            spec,
            &[(48, b"card 4761 7390 0101 0119")],
            "\"48\":\"card 4761 7*** **** 0119\"",
            "\"48\":\"card 4761 7390 0101 0119\"",
        );
    }
}

#[test]
fn card_data_is_masked() {
    for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
        check(spec, &[], "", "");
        check(
            spec,
            &[(2, PAN.as_bytes()), (3, b"000000")],
            "\"2\":\"476173******0119\",\"3\":\"000000\"",
            "\"2\":\"4761739001010119\",\"3\":\"000000\"",
        );
        check(
            spec,
            &[(35, b"4761739001010119=2912201")],
            "\"35\":\"476173******0119********\"",
            "\"35\":\"4761739001010119=2912201\"",
        );
        check(
            spec,
            &[(36, b"01;4761"), (45, b"B4761^A")],
            "\"36\":\"*******\",\"45\":\"*******\"",
            "\"36\":\"01;4761\",\"45\":\"B4761^A\"",
        );
        check(
            spec,
            &[(52, &[0xA5; 8])],
            "\"52\":{\"hex\":\"****************\"}",
            "\"52\":{\"hex\":\"A5A5A5A5A5A5A5A5\"}",
        );
        check(
            spec,
            &[(64, &[0xA5; 8])],
            "\"64\":{\"hex\":\"A5A5A5A5A5A5A5A5\"}",
            "\"64\":{\"hex\":\"A5A5A5A5A5A5A5A5\"}",
        );
    }
}

#[test]
fn the_card_number_is_masked_wherever_it_stands() {
    let icc = [
        &[0x9F, 0x26, 1, 0xAA, 0xDF, 0x01, 8][..],
        &[0x47, 0x61, 0x73, 0x90, 0x01, 0x01, 0x01, 0x19],
    ]
    .concat();
    let elements: &[(u8, &[u8])] = &[
        (2, PAN.as_bytes()),
        (48, b"card 4761739001010119 twice 4761739001010119"),
        (55, &icc),
        (62, b"34373631373339303031303130313139"),
        (96, b"\x47\x61\x73\x90\x01\x01\x01\x19\0\0\0\0\0\0\0\0"),
        (102, PAN.as_bytes()),
    ];
    with_message(Spec::iso87_binary(), elements, |message| {
        let json = to_json(message, false);
        assert!(
            !json.contains(PAN) && !to_table(message, false).contains(PAN),
            "{json}"
        );
        assert!(!json.contains("34373631373339303031303130313139"), "{json}");
        assert!(
            json.contains(&format!("\"48\":\"card {PAN_MASKED} twice {PAN_MASKED}\"")),
            "{json}"
        );
        assert!(
            json.contains(&format!(
                "\"55\":{{\"hex\":\"9F2601AADF0108{PAN_MASKED}\"}}"
            )),
            "{json}"
        );
        assert!(to_json(message, true).contains(&format!("\"102\":\"{PAN}\"")));
    });
}

#[test]
fn numbers_in_free_text_that_may_be_card_numbers() {
    let spec = Spec::iso87_ascii();
    check(
        spec,
        &[(102, PAN.as_bytes())],
        "\"102\":\"476173******0119\"",
        "\"102\":\"4761739001010119\"",
    );
    check(
        spec,
        &[(48, b"a6222021234567890128,4222222222222b")],
        "\"48\":\"a622202*********0128,422222***2222b\"",
        "\"48\":\"a6222021234567890128,4222222222222b\"",
    );
    // Another check digit, fewer digits, more digits, and elements that are numbers of their own.
    for (de, value) in [
        (102, "4761739001010118"),
        (102, "411111111117"),
        (102, "10000000000000000009"),
        (86, "4761739001010119"),
    ] {
        let shown = format!("\"{de}\":\"{value}\"");
        check(spec, &[(de, value.as_bytes())], &shown, &shown);
    }
}

/// Where no card number belongs: elements of a fixed length, tags that nobody knows, chip data that cannot be taken apart.
#[test]
fn card_numbers_where_none_belongs() {
    let spec = Spec::iso87_ascii();
    let acceptor = format!("{PAN:<40}");
    check(
        spec,
        &[(43, acceptor.as_bytes())],
        &format!("\"43\":\"{PAN_MASKED:<40}\""),
        &format!("\"43\":\"{acceptor}\""),
    );
    for (chip, masked) in [
        (
            "DF8101083782822463100 05F5F2A020978",
            "DF810108378282*****0005F5F2A020978",
        ),
        (
            "DF01103437363137333930303130313031313995019F",
            "DF0110********************************95019F",
        ),
        ("5A08378282246310005G", "5A08378282*****0005G"),
    ] {
        let chip = chip.replace(' ', "");
        check(
            spec,
            &[(55, chip.as_bytes())],
            &format!("\"55\":\"{masked}\""),
            &format!("\"55\":\"{chip}\""),
        );
    }
    // Neither a merchant nor a sum of amounts nor an original is one because of its check digit.
    for (de, text) in [
        (42, "900000000000019"),
        (86, "4761739001010119"),
        (90, "020047617390010101190000000000000000000000"),
    ] {
        let shown = format!("\"{de}\":\"{text}\"");
        check(spec, &[(de, text.as_bytes())], &shown, &shown);
    }
    // In a dialect whose elements are any characters.
    let dialect = Dialect::new("any").with(
        48,
        Field::variable("Account", Format::Any, Prefix::ascii(3), 99),
    );
    let spec = Box::leak(Box::new(Spec::compile(&dialect).expect("as it should be")));
    check(
        spec,
        &[(48, b"CARD 4761739001010119 END")],
        "\"48\":\"CARD 476173******0119 END\"",
        "\"48\":\"CARD 4761739001010119 END\"",
    );
}

#[test]
fn card_data_among_the_tags_of_icc_data() {
    let icc = [
        &[0x5A, 8, 0x47, 0x61, 0x73, 0x90, 0x01, 0x01, 0x01, 0x19][..],
        &[0x82, 1, 0x80],
    ]
    .concat();
    check(
        Spec::iso87_binary(),
        &[(55, &icc)],
        "\"55\":{\"hex\":\"5A08****************820180\"}",
        "\"55\":{\"hex\":\"5A084761739001010119820180\"}",
    );
    check(
        Spec::iso87_ascii(),
        &[(55, b"5A084761739001010119820180")],
        "\"55\":\"5A08****************820180\"",
        "\"55\":\"5A084761739001010119820180\"",
    );
    check(
        Spec::iso87_ascii(),
        &[(55, b"no tags")],
        "\"55\":\"no tags\"",
        "\"55\":\"no tags\"",
    );
}

#[test]
fn any_byte_is_json() {
    let spec = Spec::iso87_ascii();
    let shown = "\"48\":\"a\\\"\\\\/é\\u009f\"";
    check(spec, &[(48, b"a\"\\/\xE9\x9F")], shown, shown);
    // Also what does not validate is shown.
    let frame = b"02000000000000010000003a\x00\n";
    let message = spec.decode(frame).expect("lengths are right");
    assert_eq!(
        to_json(&message, false),
        "{\"mti\":\"0200\",\"fields\":{\"48\":\"a\\u0000\\u000a\"}}"
    );
    let table = to_table(&message, false);
    assert_eq!(
        table.lines().nth(1),
        Some("  48  Additional data, private  ans ..999 LLL  a\\x00\\x0A")
    );
    assert_eq!(
        table.lines().next(),
        Some("0200  financial request, acquirer, ISO 8583:1987")
    );
}

#[test]
fn a_table_lines_up() {
    let elements: &[(u8, &[u8])] = &[
        (2, PAN.as_bytes()),
        (28, b"C00000100"),
        (52, &[1; 8]),
        (128, &[2; 8]),
    ];
    with_message(Spec::iso87_binary(), elements, |message| {
        let expected = "\
0200  financial request, acquirer, ISO 8583:1987
   2  Primary account number       n ..19 LL  476173******0119
  28  Amount, transaction fee      x+n 8      C00000100
  52  PIN data                     b 64       ****************
 128  Message authentication code  b 64       0202020202020202
";
        assert_eq!(to_table(message, false), expected);
    });
}

/// A dialect that tells its messages' subfields apart.
fn with_subfields() -> Spec {
    let icc = BerTlv {
        open_constructed: true,
        ..BerTlv::default()
    };
    let private = BTreeMap::from([
        (
            1,
            Field::variable("Free text", Format::Ans, Prefix::ascii(2), 99),
        ),
        (2, Field::variable("Bytes", Format::B, Prefix::ascii(2), 99)),
    ]);
    let dialect = Dialect::new("nested")
        .with(
            2,
            Field::variable("Card number", Format::N, Prefix::ascii(2), 19),
        )
        .with(
            48,
            Field::variable("Private", Format::Ans, Prefix::ascii(3), 999)
                .with_body(Body::Positional(private)),
        )
        .with(
            55,
            Field::variable("ICC data", Format::B, Prefix::ascii(3), 255)
                .with_body(Body::BerTlv(icc)),
        );
    Spec::compile(&dialect).expect("as it should be")
}

#[test]
fn subfields_are_masked_as_well() {
    let spec = with_subfields();
    let packed = vec![0x47, 0x61, 0x73, 0x90, 0x01, 0x01, 0x01, 0x19];
    let check = |known: bool, shown: &str| {
        let mut record = Record::new(Mti::literal("0200"));
        if known {
            record.set("2", PAN).expect("a number");
        }
        record
            .set("48.1", format!("card {PAN}!"))
            .and_then(|record| record.set("48.2", PAN.as_bytes()))
            .and_then(|record| record.set("55.70.5A", packed.clone()))
            .and_then(|record| record.set("55.DF01", packed.clone()))
            .and_then(|record| record.set("55.9F36", vec![0, 1]))
            .expect("numbers of elements");
        let mut out = BytesMut::new();
        record.encode(&spec, &mut out).expect("representable");
        let message = spec.decode(&out).expect("just encoded");
        assert_eq!(to_json(&message, false), shown);
        let clear = to_json(&message, true) + &to_table(&message, true);
        assert!(clear.contains(PAN));
        let masked = to_json(&message, false) + &to_table(&message, false);
        assert!(!masked.contains(PAN), "{masked}");
        let table = to_table(&message, false);
        let line = table
            .lines()
            .find(|line| line.contains("48.1"))
            .expect("a line");
        let words: Vec<&str> = line.split_whitespace().take(6).collect();
        assert_eq!(words, ["48.1", "Free", "text", "ans", "..99", "LL"]);
    };
    let stars = "*".repeat(32);
    let group = format!(
        "\"48\":{{\"1\":\"card {PAN_MASKED}!\",\"2\":{{\"hex\":\"{stars}\"}}}},\
         \"55\":{{\"70\":{{\"5A\":{{\"hex\":\"{0}\"}}}},\"DF01\":{{\"hex\":\"{PAN_MASKED}\"}},\
         \"9F36\":{{\"hex\":\"0001\"}}}}",
        "*".repeat(16)
    );
    check(
        false,
        &format!("{{\"mti\":\"0200\",\"fields\":{{{group}}}}}"),
    );
    check(
        true,
        &format!("{{\"mti\":\"0200\",\"fields\":{{\"2\":\"{PAN_MASKED}\",{group}}}}}"),
    );
}
