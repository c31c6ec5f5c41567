use super::*;

fn facts(mti: &str, processing_code: &[u8; 6], amount: u64) -> Facts {
    Facts {
        mti: Mti::literal(mti),
        processing_code: Some(*processing_code),
        amount: Some(amount),
        pan: Pan::from_digits(b"4111111111111111"),
        network: None,
    }
}

fn check(rule: &str, facts: &Facts, expected: bool) {
    assert_eq!(
        rule.parse::<Rule>().unwrap().matches(facts),
        expected,
        "{rule}"
    );
}

#[test]
fn conditions() {
    let refund = facts("0220", b"200000", 5100);
    check(":drop", &refund, true);
    check("mti=0220: drop", &refund, true);
    check("mti=022x: drop", &refund, true);
    check("mti=0200: drop", &refund, false);
    check("processing=20: drop", &refund, true);
    check("processing=00: drop", &refund, false);
    check("amount=5100: drop", &refund, true);
    check("amount=5101: drop", &refund, false);
    check("amount=5000-5100: drop", &refund, true);
    check("amount=5101-6000: drop", &refund, false);
    check("amount=*100: drop", &refund, true);
    check("amount=*200: drop", &refund, false);
    check("pan=4111: drop", &refund, true);
    check("pan=5: drop", &refund, false);
    check("network=301: drop", &refund, false);
    check("mti=0220 amount=5101: drop", &refund, false);
}

#[test]
fn reversals_and_network_messages_must_be_named() {
    let reversal = facts("0420", b"000000", 5100);
    check("amount=5100: drop", &reversal, false);
    check("mti=042x amount=5100: drop", &reversal, true);
    check("amount=5100: drop", &facts("0100", b"000000", 5100), true);
    let echo = Facts {
        mti: Mti::literal("0800"),
        processing_code: None,
        amount: None,
        pan: None,
        network: Some(*b"301"),
    };
    check(":drop", &echo, false);
    check("mti=0800: drop", &echo, true);
    check("network=301: drop", &echo, true);
    check("network=001: drop", &echo, false);
}

#[test]
fn every_action_there_and_back() {
    for text in [
        ": approve",
        "mti=042x times=1: decline A1",
        "processing=00 amount=*51: partial 5000",
        "amount=1-2: ignore",
        "pan=4: drop",
        "network=001: close",
        ": garbage, delay 500ms, late 2000ms, twice, wrong 11, extra 55=hex:9F2600",
    ] {
        assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
    }
    let rule: Rule = "amount=1:extra 44=some text,late 3s".parse().unwrap();
    assert_eq!(
        rule.actions,
        [
            Action::Extra {
                de: 44,
                value: b"some text".to_vec()
            },
            Action::Late(Duration::from_secs(3))
        ]
    );
}

#[test]
fn errors_say_what_and_where() {
    for (text, message) in [
        ("drop", "expected a colon before the action at character 5"),
        ("mti=0200:", "expected an action at character 10"),
        (
            "mti=02: drop",
            "expected four characters, digits or x after \"mti=\" at character 1",
        ),
        (
            "mti=0200 sum=5: drop",
            "unknown condition \"sum\" at character 10",
        ),
        (
            "always: drop",
            "unknown condition \"always\" at character 1",
        ),
        (
            "amount=9-1: drop",
            "expected a number, a range such as 100-200, or *51 after \"amount=\" at character 1",
        ),
        (
            "amount=-1: drop",
            "expected a number, a range such as 100-200, or *51 after \"amount=\" at character 1",
        ),
        (
            "network=1: drop",
            "expected three digits after \"network=\" at character 1",
        ),
        (
            "times=x: drop",
            "expected a number after \"times=\" at character 1",
        ),
        (
            ":twice, delay 5",
            "expected a duration such as 500ms or 2s after \"delay\" at character 9",
        ),
        (":drop it", "expected nothing after \"drop\" at character 2"),
        (
            ":decline 5",
            "expected a response code of two characters after \"decline\" at character 2",
        ),
        (
            ":wrong 1",
            "expected a data element, 2 to 128 after \"wrong\" at character 2",
        ),
        (
            ":extra 55=hex:9",
            "expected 44=text or 55=hex:9F26 after \"extra\" at character 2",
        ),
    ] {
        assert_eq!(
            text.parse::<Rule>().unwrap_err().to_string(),
            message,
            "{text}"
        );
    }
}
