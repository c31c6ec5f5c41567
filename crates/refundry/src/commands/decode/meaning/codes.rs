//! Codes of data elements. Source: ISO 8583:1987 annexes A and B; the codes above are common practice of networks.

use super::{digits, in_major_units, sign_in_words};

/// The name of a code in a table.
fn find(table: &[(&'static str, &'static str)], code: &str) -> Option<&'static str> {
    table
        .iter()
        .find_map(|(known, name)| (*known == code).then_some(*name))
}

/// DE 3: transaction, account from, account to.
pub(super) fn processing_code(value: &str) -> Option<String> {
    let (transaction, accounts) = value.split_at_checked(2)?;
    let (from, to) = accounts.split_at_checked(2)?;
    let transaction = match find(TRANSACTIONS, transaction) {
        Some(name) => name,
        None => match transaction.as_bytes().first()? {
            b'0' | b'1' => "debit of another kind",
            b'2' => "credit of another kind",
            b'3' => "inquiry of another kind",
            b'4' => "transfer of another kind",
            _ => "transaction of another kind",
        },
    };
    let account = |code| find(ACCOUNTS, code).unwrap_or("account of another kind");
    Some(match (from, to) {
        ("00", "00") => format!("{transaction}, accounts by default"),
        _ => format!("{transaction}, from {}, to {}", account(from), account(to)),
    })
}

const TRANSACTIONS: &[(&str, &str)] = &[
    ("00", "goods and services"),
    ("01", "cash"),
    ("02", "debit adjustment or void"),
    ("03", "cheque guarantee or pre-authorisation"),
    ("04", "cheque verification"),
    ("09", "goods and services with cash back"),
    ("10", "non-cash financial instrument"),
    ("11", "quasi-cash"),
    ("20", "refund"),
    ("21", "deposit"),
    ("22", "credit adjustment or void of a refund"),
    ("23", "cheque deposit guarantee"),
    ("24", "cheque deposit"),
    ("26", "original credit"),
    ("28", "prepaid load"),
    ("30", "available funds inquiry"),
    ("31", "balance inquiry"),
    ("32", "general inquiry"),
    ("40", "account transfer"),
    ("50", "payment"),
    ("90", "card activation or replacement"),
    ("92", "PIN change"),
];

const ACCOUNTS: &[(&str, &str)] = &[
    ("00", "default account"),
    ("10", "savings account"),
    ("20", "cheque account"),
    ("30", "credit account"),
    ("38", "credit line"),
    ("40", "universal account"),
    ("50", "investment account"),
    ("60", "stored value account"),
];

/// DE 22: how the card number was read, and whether a PIN can be entered.
pub(super) fn entry_mode(value: &str) -> Option<String> {
    digits(value)?;
    let (card, pin) = value.split_at_checked(2)?;
    let card = find(
        &[
            ("00", "entry of the card number unknown"),
            ("01", "card number by hand"),
            ("02", "magnetic stripe, maybe not whole"),
            ("03", "bar code"),
            ("04", "optical characters"),
            ("05", "chip"),
            ("06", "by key"),
            ("07", "contactless chip"),
            ("10", "credential on file"),
            ("79", "by hand after the chip failed"),
            ("80", "magnetic stripe after the chip failed"),
            ("81", "electronic commerce"),
            ("90", "magnetic stripe, whole"),
            ("91", "contactless magnetic stripe"),
            ("95", "chip, maybe not reliable"),
        ],
        card,
    )
    .unwrap_or("entry of the card number of another kind");
    let pin = find(
        &[
            ("0", "PIN entry unknown"),
            ("1", "PIN can be entered"),
            ("2", "PIN cannot be entered"),
            ("3", "PIN pad out of order"),
        ],
        pin,
    )
    .unwrap_or("PIN entry of another kind");
    Some(format!("{card}; {pin}"))
}

/// DE 25.
pub(super) fn condition(value: &str) -> Option<&'static str> {
    const CONDITIONS: &[(&str, &str)] = &[
        ("00", "normal"),
        ("01", "cardholder not present"),
        ("02", "unattended terminal that can keep the card"),
        ("03", "merchant suspicious"),
        ("04", "electronic cash register"),
        ("05", "cardholder present, card not present"),
        ("06", "pre-authorisation, or its completion"),
        ("07", "telephone device"),
        ("08", "mail or telephone order"),
        ("09", "security alert"),
        ("10", "customer identity verified"),
        ("11", "suspected fraud"),
        ("12", "security reasons"),
        ("13", "representation of an item"),
        ("14", "public utility terminal"),
        ("15", "customer's terminal at home"),
        ("18", "pre-authorisation by mail or telephone"),
        ("27", "unattended terminal that cannot keep the card"),
        ("42", "card-activated fuel pump"),
        ("51", "account verification"),
        ("59", "electronic commerce"),
        ("60", "addition to a pre-authorisation"),
        ("64", "instalment"),
        ("71", "magnetic stripe of a chip card"),
    ];
    find(CONDITIONS, value)
}

/// DE 39 of 1987.
pub(super) fn response(value: &str) -> Option<&'static str> {
    find(RESPONSES, value)
}

const RESPONSES: &[(&str, &str)] = &[
    ("00", "approved"),
    ("01", "refer to card issuer"),
    ("02", "refer to card issuer, special condition"),
    ("03", "invalid merchant"),
    ("04", "pick up the card"),
    ("05", "do not honour"),
    ("06", "error"),
    ("07", "pick up the card, special condition"),
    ("08", "honour with identification"),
    ("09", "request in progress"),
    ("10", "approved for a partial amount"),
    ("11", "approved, VIP"),
    ("12", "invalid transaction"),
    ("13", "invalid amount"),
    ("14", "invalid card number"),
    ("15", "no such issuer"),
    ("16", "approved, update track 3"),
    ("17", "customer cancellation"),
    ("18", "customer dispute"),
    ("19", "re-enter transaction"),
    ("20", "invalid response"),
    ("21", "no action taken"),
    ("22", "suspected malfunction"),
    ("23", "unacceptable transaction fee"),
    ("24", "file update not supported by receiver"),
    ("25", "unable to locate record"),
    ("26", "duplicate file update record, old one replaced"),
    ("27", "file update field edit error"),
    ("28", "file locked"),
    ("29", "file update not successful"),
    ("30", "format error"),
    ("31", "bank not supported by switch"),
    ("32", "completed partially"),
    ("33", "expired card, pick up"),
    ("34", "suspected fraud, pick up"),
    ("35", "contact acquirer, pick up"),
    ("36", "restricted card, pick up"),
    ("37", "call acquirer security, pick up"),
    ("38", "PIN tries exceeded, pick up"),
    ("39", "no credit account"),
    ("40", "function not supported"),
    ("41", "lost card"),
    ("42", "no universal account"),
    ("43", "stolen card, pick up"),
    ("44", "no investment account"),
    ("51", "not sufficient funds"),
    ("52", "no cheque account"),
    ("53", "no savings account"),
    ("54", "expired card"),
    ("55", "incorrect PIN"),
    ("56", "no card record"),
    ("57", "transaction not permitted to cardholder"),
    ("58", "transaction not permitted to terminal"),
    ("59", "suspected fraud"),
    ("60", "contact acquirer"),
    ("61", "exceeds amount limit"),
    ("62", "restricted card"),
    ("63", "security violation"),
    ("64", "original amount incorrect"),
    ("65", "exceeds frequency limit"),
    ("66", "call acquirer's security department"),
    ("67", "hard capture"),
    ("68", "response received too late"),
    ("75", "PIN tries exceeded"),
    (
        "77",
        "in use of acquirers: batch number does not fit, sign in again",
    ),
    ("90", "cutover in process"),
    ("91", "issuer or switch inoperative"),
    ("92", "no route to the institution"),
    ("93", "cannot be completed, violation of law"),
    ("94", "duplicate transmission"),
    ("95", "reconcile error"),
    ("96", "system malfunction"),
    ("97", "in use of acquirers: terminal not registered"),
    ("98", "in use of acquirers: no answer from the issuer"),
    ("99", "in use of acquirers: PIN block wrong, sign in again"),
    ("A0", "in use of acquirers: MAC wrong"),
];

/// DE 70.
pub(super) fn network(value: &str) -> Option<&'static str> {
    const FUNCTIONS: &[(&str, &str)] = &[
        ("001", "sign on"),
        ("002", "sign off"),
        ("003", "target system unavailable"),
        ("004", "back-up system"),
        ("101", "key change"),
        ("102", "security alert"),
        ("161", "key change request"),
        ("162", "key exchange"),
        ("201", "cutover begins"),
        ("202", "cutover complete"),
        ("270", "sign on with store and forward"),
        ("301", "echo test"),
        ("951", "script result"),
    ];
    find(FUNCTIONS, value)
}

/// DE 9 and 10: the number of decimals, then seven digits.
pub(super) fn rate(value: &str) -> Option<String> {
    digits(value)?;
    let (decimals, number) = value.split_at_checked(1)?;
    let decimals: u32 = decimals.parse().ok()?;
    let rate = rust_decimal::Decimal::try_new(number.parse().ok()?, decimals).ok()?;
    Some(format!("{rate}"))
}

/// One of DE 54: account 2, type 2, currency 3, sign 1, amount 12.
pub(super) fn balance(value: &str) -> Option<String> {
    let (account, rest) = value.split_at_checked(2)?;
    let (kind, rest) = rest.split_at_checked(2)?;
    let (code, rest) = rest.split_at_checked(3)?;
    let (sign, amount) = rest.split_at_checked(1)?;
    digits(amount)?;
    let account = find(ACCOUNTS, account).unwrap_or("account of another kind");
    let kind = find(
        &[
            ("01", "ledger balance"),
            ("02", "available balance"),
            ("03", "amount owing"),
            ("04", "amount due"),
            ("20", "remaining this cycle"),
            ("40", "cash"),
            ("41", "goods and services"),
            ("43", "gratuity"),
            ("53", "amount approved"),
            ("57", "original amount"),
        ],
        kind,
    )
    .unwrap_or("amount of another kind");
    let sign = sign_in_words(sign)?;
    Some(format!(
        "{account}, {kind}, {sign} {}",
        in_major_units(amount, code)?
    ))
}

/// What 1993 and later editions have.
pub(super) fn of_1993(de: u8, value: &str) -> Option<String> {
    digits(value)?;
    let name = match (de, value.len()) {
        (24, 3) => find(
            &[
                ("100", "original authorization, amount accurate"),
                ("101", "original authorization, amount estimated"),
                ("200", "original financial request or advice"),
                ("201", "previously approved, same amount"),
                ("202", "previously approved, amount differs"),
                ("400", "full reversal"),
                ("401", "partial reversal"),
                ("801", "sign on"),
                ("802", "sign off"),
                ("831", "echo test"),
            ],
            value,
        ),
        (25, 4) => find(
            &[
                ("4000", "customer cancellation"),
                ("4002", "suspected malfunction"),
                ("4004", "completed partially"),
                ("4005", "original amount incorrect"),
                ("4006", "response received too late"),
                ("4007", "card acceptor device unable to complete"),
                ("4013", "unable to deliver to the point of service"),
                ("4020", "invalid response"),
                ("4021", "time-out waiting for the response"),
            ],
            value,
        ),
        (39, 3 | 4) => match (value.as_bytes().first(), value) {
            (_, "000" | "0000") => Some("approved"),
            (Some(b'0'), _) => Some("approved, with conditions"),
            (Some(b'1'), _) => Some("declined"),
            (Some(b'2'), _) => Some("declined, pick up the card"),
            (Some(b'3'), _) => Some("result of a file action"),
            (_, "400" | "4000") => Some("reversal accepted"),
            (Some(b'5'), _) => Some("result of a reconciliation"),
            (Some(b'8'), _) => Some("network management"),
            (Some(b'9'), _) => Some("request not executed: an error"),
            _ => None,
        },
        _ => None,
    };
    name.map(str::to_owned)
}
