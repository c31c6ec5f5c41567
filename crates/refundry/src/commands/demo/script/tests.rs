use super::*;

/// A day of one chapter with these steps.
fn day(steps: &str) -> String {
    format!(
        "currency = \"CNY\"\n\
         cards = {{ anna = \"4761739001010119\" }}\n\
         terminals = {{ till = {{ terminal = \"TILL0001\", merchant = \"COAT SHOP\" }} }}\n\
         [[chapter]]\n\
         title = \"t\"\n\
         {steps}"
    )
}

const PURCHASE: &str = "[[chapter.step]]\n\
    what = \"a\"\n\
    do = \"purchase\"\n\
    as = \"coat\"\n\
    card = \"anna\"\n\
    terminal = \"till\"\n\
    amount = \"100.00\"\n\
    expect = \"00\"\n";

#[test]
fn the_built_in_day_is_good() {
    let text = include_str!("../../../../../../fixtures/demo/day.toml");
    let script = Script::parse(text, Path::new("day.toml")).unwrap();
    assert!(script.steps().count() > 30);
}

#[test]
fn a_step_knows_its_purchase_and_takes_its_terminal() {
    let steps = "[[chapter.step]]\nwhat = \"b\"\ndo = \"refund\"\nas = \"back\"\nof = \"coat\"\namount = \"0.01\"\nexpect = \"00\"\n\
                 [[chapter.step]]\nwhat = \"c\"\ndo = \"reversal\"\nof = \"back\"\nexpect = \"00\"\n";
    let script = Script::parse(&day(&format!("{PURCHASE}{steps}")), Path::new("d")).unwrap();
    let steps: Vec<&Step> = script.steps().collect();
    assert!(steps.iter().all(|step| step.original == Some(0)));
    let Deed::Reversal { of: 1, terminal } = &steps[2].deed else {
        panic!("{:?}", steps[2])
    };
    assert_eq!((terminal.as_str(), steps[1].line), ("till", 15));
}

#[track_caller]
fn check(steps: &str, expected: &str) {
    let error = Script::parse(&day(steps), Path::new("d.toml")).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn mistakes_are_reported_with_line_and_key() {
    check(
        &PURCHASE.replace("card = \"anna\"", "card = \"ana\""),
        "d.toml:10: card: unknown card `ana`; the nearest known one is `anna`",
    );
    check(
        &PURCHASE.replace("till\"", "tell\""),
        "d.toml:11: terminal: unknown terminal `tell`",
    );
    check(
        &PURCHASE.replace("100.00", "100.001"),
        "d.toml:12: amount: CNY has 2 decimals",
    );
    check(
        &PURCHASE.replace("card = \"anna\"\n", ""),
        "d.toml:7: card: is missing",
    );
    check(
        &PURCHASE.replace("= \"00\"", "= []"),
        "d.toml:7: expect: expected 1 response codes",
    );
    check(
        &PURCHASE.replace("= \"00\"", "= \"61\""),
        "d.toml:7: reason: is missing: say why 61",
    );
    check(
        &PURCHASE.replace("= \"00\"", "= \"61\"\nreason = \"card\""),
        "d.toml:14: reason: `card` is answered 14",
    );
    check(
        &PURCHASE.replace("= \"00\"", "= \"61\"\nreason = \"ceilin\""),
        "the nearest known one is `ceiling`",
    );
    check(
        &PURCHASE.replace("amount", "issuer_does = [\"drop\"]\namount"),
        "d.toml:12: issuer_does: expected a colon",
    );
    check(
        &PURCHASE.replace("amount", "connections = 65\namount"),
        "d.toml:12: connections: expected 1 to 64",
    );
    check(
        &PURCHASE.replace("amount", "same_answer = true\namount"),
        "same_answer: has no meaning",
    );
    check(
        &format!("{PURCHASE}{PURCHASE}"),
        "d.toml:17: as: another step has the name \"coat\"",
    );
    check(
        &PURCHASE.replace("purchase", "refund").replace("card", "of"),
        "of: unknown earlier step `anna`",
    );
}

#[test]
fn what_is_no_script_is_reported_with_its_line() {
    check(
        &PURCHASE.replace("amount", "amonut"),
        "d.toml:12: amonut: unknown field `amonut`",
    );
    check(
        &PURCHASE.replace("\"100.00\"", "100"),
        "d.toml:12: amount: invalid type",
    );
    check(
        &PURCHASE.replace("purchase", "buy"),
        "d.toml:8: do: unknown variant `buy`",
    );
    check(
        &PURCHASE.replace("what = \"a\"\n", ""),
        "missing field `what`",
    );
    check(&PURCHASE.replace("card", "card card"), "d.toml:10: ");
}

#[test]
fn a_wrong_card_number_is_not_repeated() {
    for wrong in ["\"4761x39001010119\"", "4761739001010119"] {
        let text = day(PURCHASE).replace("\"4761739001010119\"", wrong);
        let error = Script::parse(&text, Path::new("d.toml")).unwrap_err();
        assert!(
            error.contains("d.toml:2: cards.anna: expected 12 to 19 digits"),
            "{error}"
        );
        assert!(!error.contains("4761"), "{error}");
    }
}
