use super::*;

fn item(path: &str, value: &str, is_hex: bool) -> Item {
    Item {
        path: path.to_owned(),
        name: String::new(),
        format: String::new(),
        value: value.to_owned(),
        is_hex,
        is_group: false,
        is_masked: false,
        place: 0..0,
    }
}

/// Fields, of which the first one is asked for.
fn of(mti: &str, fields: &[(&str, &str)]) -> Option<String> {
    let items: Vec<Item> = fields
        .iter()
        .map(|(path, value)| item(path, value, path.contains('.')))
        .collect();
    Meanings::new(Some(Mti::literal(mti)), &items).of(&items[0])
}

#[track_caller]
fn check(mti: &str, fields: &[(&str, &str)], meaning: &str) {
    assert_eq!(of(mti, fields).as_deref(), Some(meaning));
}

#[test]
fn values_in_words() {
    check(
        "0200",
        &[("3", "000000")],
        "goods and services, accounts by default",
    );
    check(
        "0200",
        &[("3", "201030")],
        "refund, from savings account, to credit account",
    );
    check(
        "0200",
        &[("4", "000000012345"), ("49", "156")],
        "123.45 CNY",
    );
    check("0200", &[("4", "000000012345"), ("49", "392")], "12345 JPY");
    check(
        "0200",
        &[("4", "000000012345"), ("49", "048")],
        "12.345 BHD",
    );
    check(
        "0200",
        &[("28", "D00000150"), ("49", "978")],
        "debit 1.50 EUR",
    );
    check("0200", &[("7", "1122103000")], "22 November, 10:30:00 UTC");
    check("0200", &[("14", "2812")], "December 2028");
    check("0200", &[("22", "051")], "chip; PIN can be entered");
    check("0200", &[("25", "08")], "mail or telephone order");
    check("0210", &[("39", "51")], "not sufficient funds");
    check("0800", &[("70", "301")], "echo test");
    check("0200", &[("9", "50012345")], "0.12345");
    check("1210", &[("39", "000")], "approved");
    check("1420", &[("24", "401")], "partial reversal");
}

#[test]
fn what_says_nothing() {
    assert_eq!(of("0200", &[("4", "000000012345")]), None);
    assert_eq!(of("0200", &[("7", "1322103000")]), None);
    assert_eq!(of("0200", &[("48", "000000")]), None);
    assert_eq!(of("1200", &[("22", "051")]), None);
    let mut hidden = item("3", "000000", false);
    hidden.is_masked = true;
    assert_eq!(Meanings::new(None, &[]).of(&hidden), None);
}

#[test]
fn chip_data_in_words() {
    check(
        "0200",
        &[("55.9F02", "000000012345"), ("55.5F2A", "0156")],
        "123.45 CNY",
    );
    check(
        "0200",
        &[("55.95", "8000048000")],
        "offline data authentication not performed, online PIN entered, floor limit exceeded",
    );
    check("0200", &[("55.95", "0000000001")], "byte 5 bit 1");
    check("0200", &[("55.95", "0000000000")], "no bit set");
    check("0200", &[("55.70.9F27", "80")], "ARQC, online requested");
    check(
        "0200",
        &[("55.9F34", "020300")],
        "enciphered PIN online, result unknown",
    );
    check("0200", &[("55.9A", "261122")], "22 November 2026");
    check("0200", &[("55.9C", "20")], "refund");
    check("0200", &[("55.8A", "3030")], "\"00\"");
}

#[test]
fn parts_of_values() {
    let items = [
        item("90", "020000012311211345000004802581000000000000", false),
        item("95", "000000007000000000000000C00000000C00000000", false),
        item("54", "0002156C0000000123451001156D000000000100", false),
        item("49", "156", false),
    ];
    let meanings = Meanings::new(Some(Mti::literal("0420")), &items);
    let parts = |index: usize| -> Vec<(String, String, Option<String>)> {
        let parts = meanings.parts(&items[index]).into_iter();
        parts
            .map(|part| (part.path, part.value, part.meaning))
            .collect()
    };
    let words = |text: &str| Some(text.to_owned());
    let original = parts(0);
    assert_eq!(original[1], ("90.2".to_owned(), "000123".to_owned(), None));
    assert_eq!(original[2].2, words("21 November, 13:45:00 UTC"));
    assert_eq!(original[4].2, words("not given"));
    assert_eq!(parts(1)[0].2, words("70.00 CNY"));
    assert_eq!(
        parts(2)[0].2,
        words("default account, available balance, credit 123.45 CNY")
    );
    assert_eq!(
        parts(2)[1].2,
        words("savings account, ledger balance, debit 1.00 CNY")
    );
}
