//! Chip data: EMV tags. Source: EMV 4.3 book 3, annexes A and C.

use super::{in_major_units, time};

/// What a tag is called.
pub(super) fn name(tag: &str) -> Option<&'static str> {
    NAMES
        .iter()
        .find_map(|(known, name)| (*known == tag).then_some(*name))
}

const NAMES: &[(&str, &str)] = &[
    ("42", "Issuer identification number"),
    ("4F", "Application identifier"),
    ("50", "Application label"),
    ("56", "Track 1 data"),
    ("57", "Track 2 equivalent data"),
    ("5A", "Application primary account number"),
    ("5F20", "Cardholder name"),
    ("5F24", "Application expiration date"),
    ("5F25", "Application effective date"),
    ("5F28", "Issuer country code"),
    ("5F2A", "Transaction currency code"),
    ("5F2D", "Language preference"),
    ("5F30", "Service code"),
    ("5F34", "Application PAN sequence number"),
    ("70", "Record template"),
    ("71", "Issuer script template 1"),
    ("72", "Issuer script template 2"),
    ("77", "Response message template 2"),
    ("80", "Response message template 1"),
    ("82", "Application interchange profile"),
    ("84", "Dedicated file name"),
    ("86", "Issuer script command"),
    ("87", "Application priority indicator"),
    ("89", "Authorisation code"),
    ("8A", "Authorisation response code"),
    ("8E", "Cardholder verification method list"),
    ("91", "Issuer authentication data"),
    ("94", "Application file locator"),
    ("95", "Terminal verification results"),
    ("9A", "Transaction date"),
    ("9B", "Transaction status information"),
    ("9C", "Transaction type"),
    ("9F02", "Amount, authorised"),
    ("9F03", "Amount, other"),
    ("9F06", "Application identifier of the terminal"),
    ("9F07", "Application usage control"),
    ("9F08", "Application version number of the card"),
    ("9F09", "Application version number of the terminal"),
    ("9F0B", "Cardholder name, extended"),
    ("9F0D", "Issuer action code, default"),
    ("9F0E", "Issuer action code, denial"),
    ("9F0F", "Issuer action code, online"),
    ("9F10", "Issuer application data"),
    ("9F11", "Issuer code table index"),
    ("9F12", "Application preferred name"),
    ("9F1A", "Terminal country code"),
    ("9F1B", "Terminal floor limit"),
    ("9F1E", "Interface device serial number"),
    ("9F1F", "Track 1 discretionary data"),
    ("9F20", "Track 2 discretionary data"),
    ("9F21", "Transaction time"),
    ("9F26", "Application cryptogram"),
    ("9F27", "Cryptogram information data"),
    ("9F33", "Terminal capabilities"),
    ("9F34", "Cardholder verification method results"),
    ("9F35", "Terminal type"),
    ("9F36", "Application transaction counter"),
    ("9F37", "Unpredictable number"),
    ("9F39", "Point of service entry mode"),
    ("9F40", "Additional terminal capabilities"),
    ("9F41", "Transaction sequence counter"),
    ("9F4C", "ICC dynamic number"),
    ("9F53", "Transaction category code"),
    ("9F5B", "Issuer script results"),
    ("9F63", "Product identification information"),
    ("9F66", "Terminal transaction qualifiers"),
    ("9F6B", "Track 2 data, contactless"),
    ("9F6C", "Card transaction qualifiers"),
    ("9F6E", "Form factor indicator"),
    ("9F74", "Electronic cash issuer authorisation code"),
    ("DF31", "Issuer script results"),
];

/// What the value of a tag means, in hexadecimal digits. `other` gives the value of another tag.
pub(super) fn meaning<'v>(
    tag: &str,
    value: &str,
    other: impl Fn(&str) -> Option<&'v str>,
) -> Option<String> {
    match tag {
        "82" => bits(value, PROFILE),
        "95" => bits(value, VERIFICATION),
        "9B" => bits(value, STATUS),
        "5F2A" => {
            let (letters, decimals) = crate::config::currency(value.parse().ok()?)?;
            Some(format!("{letters}, {decimals} decimals"))
        }
        "9F02" | "9F03" if value.len() == 12 => in_major_units(value, other("5F2A")?),
        "9A" | "5F24" | "5F25" => time::date(value),
        "9F21" => time::clock(value),
        "9C" => super::codes::processing_code(&format!("{value}0000"))
            .map(|words| words.replace(", accounts by default", "")),
        "8A" | "89" | "50" | "9F12" | "9F1E" | "5F2D" => printable(value),
        "9F27" => cryptogram(value),
        "9F34" => verification_method(value),
        "9F36" | "9F41" => u64::from_str_radix(value, 16)
            .ok()
            .map(|number| number.to_string()),
        "4F" | "84" | "9F06" => scheme(value).map(str::to_owned),
        "9F39" => super::codes::entry_mode(&format!("{value}0"))
            .map(|words| words.replace("; PIN entry unknown", "")),
        _ => None,
    }
}

/// The names of the bits that are set, the first being the highest of the first byte.
fn bits(value: &str, names: &[(usize, &str)]) -> Option<String> {
    let nibbles: Option<Vec<u32>> = value.chars().map(|digit| digit.to_digit(16)).collect();
    let nibbles = nibbles?;
    let is_set = |bit: usize| {
        let nibble = nibbles.get(bit / 4).copied().unwrap_or_default();
        nibble >> (3 - bit % 4) & 1 == 1
    };
    let found: Vec<String> = (0..nibbles.len() * 4)
        .filter(|bit| is_set(*bit))
        .map(|bit| {
            let name = names.iter().find(|(known, _)| *known == bit);
            name.map_or_else(
                || format!("byte {} bit {}", bit / 8 + 1, 8 - bit % 8),
                |(_, name)| (*name).to_owned(),
            )
        })
        .collect();
    Some(match found.is_empty() {
        true => "no bit set".to_owned(),
        false => found.join(", "),
    })
}

const PROFILE: &[(usize, &str)] = &[
    (1, "SDA"),
    (2, "DDA"),
    (3, "cardholder verification"),
    (4, "terminal risk management"),
    (5, "issuer authentication"),
    (7, "CDA"),
    (8, "EMV mode"),
];

const VERIFICATION: &[(usize, &str)] = &[
    (0, "offline data authentication not performed"),
    (1, "SDA failed"),
    (2, "ICC data missing"),
    (3, "card on terminal exception file"),
    (4, "DDA failed"),
    (5, "CDA failed"),
    (6, "SDA selected"),
    (8, "different application versions"),
    (9, "expired application"),
    (10, "application not yet effective"),
    (11, "service not allowed for the card"),
    (12, "new card"),
    (16, "cardholder verification failed"),
    (17, "unrecognised verification method"),
    (18, "PIN try limit exceeded"),
    (19, "PIN pad missing or not working"),
    (20, "PIN not entered"),
    (21, "online PIN entered"),
    (24, "floor limit exceeded"),
    (25, "lower consecutive offline limit exceeded"),
    (26, "upper consecutive offline limit exceeded"),
    (27, "selected at random for online"),
    (28, "merchant forced online"),
    (32, "default TDOL used"),
    (33, "issuer authentication failed"),
    (34, "script failed before final cryptogram"),
    (35, "script failed after final cryptogram"),
];

const STATUS: &[(usize, &str)] = &[
    (0, "offline data authentication performed"),
    (1, "cardholder verification performed"),
    (2, "card risk management performed"),
    (3, "issuer authentication performed"),
    (4, "terminal risk management performed"),
    (5, "script processing performed"),
];

fn cryptogram(value: &str) -> Option<String> {
    let kind = match u8::from_str_radix(value, 16).ok()? >> 6 {
        0 => "AAC, declined offline",
        1 => "TC, approved offline",
        2 => "ARQC, online requested",
        _ => "reserved kind of cryptogram",
    };
    Some(kind.to_owned())
}

fn verification_method(value: &str) -> Option<String> {
    let code = u8::from_str_radix(value.get(0..2)?, 16).ok()?;
    let method = match code & 0x3F {
        0x00 => "verification failed",
        0x01 => "plaintext PIN by the card",
        0x02 => "enciphered PIN online",
        0x03 => "plaintext PIN by the card, and signature",
        0x04 => "enciphered PIN by the card",
        0x05 => "enciphered PIN by the card, and signature",
        0x1E => "signature",
        0x1F => "no verification required",
        0x3F => "no verification performed",
        _ => "verification of another kind",
    };
    let result = match value.get(4..6)? {
        "00" => "result unknown",
        "01" => "failed",
        "02" => "successful",
        _ => "result of another kind",
    };
    Some(format!("{method}, {result}"))
}

fn scheme(aid: &str) -> Option<&'static str> {
    const SCHEMES: &[(&str, &str)] = &[
        ("A000000003", "Visa"),
        ("A000000004", "Mastercard"),
        ("A000000025", "American Express"),
        ("A000000065", "JCB"),
        ("A000000152", "Discover"),
        ("A000000333", "UnionPay"),
    ];
    SCHEMES
        .iter()
        .find_map(|(prefix, name)| aid.starts_with(prefix).then_some(*name))
}

/// Characters in quotation marks, if all of them can be printed.
fn printable(value: &str) -> Option<String> {
    let bytes = (0..value.len() / 2).map(|index| {
        let pair = value.get(index * 2..index * 2 + 2)?;
        u8::from_str_radix(pair, 16)
            .ok()
            .filter(|byte| (0x20..0x7F).contains(byte))
    });
    let text: Option<String> = bytes.map(|byte| byte.map(char::from)).collect();
    text.filter(|text| !text.is_empty())
        .map(|text| format!("{text:?}"))
}
