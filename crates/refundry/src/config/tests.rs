use std::path::Path;
use std::time::Duration;

use iso8583_framing::{Framing, Tpdu};
use refund_ledger::Reason;

use super::*;

mod postgres;

const FULL: &str = include_str!("../../../../fixtures/config/full.toml");
const MINIMAL: &str = include_str!("../../../../fixtures/config/minimal.toml");
const POSTGRES: &str = include_str!("../../../../fixtures/config/postgres.toml");
const TWO_ISSUERS: &str = include_str!("../../../../fixtures/config/two-issuers.toml");

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/refundry.toml"))
}

/// The only problem of `text`, as `line: key: message`.
fn problem(text: &str) -> String {
    let error = parse(text).expect_err(text);
    assert_eq!(error.problems().len(), 1, "{error}");
    error
        .to_string()
        .replace("/etc/refundry.toml:", "")
        .trim_start()
        .to_owned()
}

/// The problem of the minimal configuration with these lines in front: whole tables, or keys of the root.
#[track_caller]
fn check_table(lines: &str, expected: &str) {
    assert_eq!(problem(&format!("{lines}\n{MINIMAL}")), expected);
}

/// The problem of the minimal configuration with this line in its listener (line 4) or its issuer (line 9).
#[track_caller]
fn check_listen(line: &str, expected: &str) {
    let text = MINIMAL.replace("8583\"\n", &format!("8583\"\n{line}\n"));
    assert_eq!(problem(&text), expected);
}

#[track_caller]
fn check_issuer(line: &str, expected: &str) {
    assert_eq!(problem(&format!("{MINIMAL}{line}\n")), expected);
}

#[test]
fn the_full_example_says_the_defaults() {
    let (full, minimal) = (parse(FULL).unwrap(), parse(MINIMAL).unwrap());
    assert_eq!(full.to_toml(), minimal.to_toml());
    assert_eq!(minimal.node.drain_timeout, Duration::from_secs(10));
    assert_eq!(
        minimal.node.duplicate_window,
        Duration::from_secs(48 * 3600)
    );
    assert_eq!(minimal.node.data_dir, Path::new("/etc/refundry-data"));
    assert_eq!(minimal.secrets.key_file, Path::new("/etc/refundry.key"));
    assert_eq!(minimal.ledger.memory, 4 << 30);
    assert_eq!(minimal.issuer[0].reconnect_min, Duration::from_millis(200));
    assert_eq!(minimal.refund.window, Duration::from_secs(180 * 86_400));
    // Every line that is shown stands in the full example, but for paths, which are shown in full.
    let without_comment = |line: &'static str| line.split('#').next().unwrap_or_default().trim();
    let lines: Vec<&str> = FULL.lines().map(without_comment).collect();
    let shown = full.to_toml().replace("/etc/", "").leak();
    for shown in shown.lines().map(without_comment) {
        assert!(lines.contains(&shown), "{shown}");
    }
}

#[test]
fn names_of_any_characters_are_shown_such_that_they_read_the_same() {
    let written = r#"name = "a\"b\\c \u00e9""#;
    let config = parse(&format!("[node]\n{written}\n{MINIMAL}")).unwrap();
    assert_eq!(config.node.name, "a\"b\\c \u{e9}");
    assert_eq!(
        parse(&config.to_toml()).unwrap().node.name,
        config.node.name
    );
}

#[test]
fn free_ports_do_not_collide() {
    let listener = "[[listen]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n";
    let text = format!("{listener}{}", MINIMAL.replace("8583", "0"));
    assert_eq!(parse(&text).unwrap().listen.len(), 2);
}

#[test]
fn what_is_shown_reads_the_same() {
    for text in [FULL, MINIMAL, TWO_ISSUERS, POSTGRES] {
        let shown = parse(text).unwrap().to_toml();
        assert_eq!(parse(&shown).unwrap().to_toml(), shown);
    }
}

#[test]
fn values_arrive_where_they_belong() {
    let config = parse(TWO_ISSUERS).unwrap();
    let [pos, gateway] = config.listen.as_slice() else {
        panic!("two listeners")
    };
    assert_eq!(
        (pos.dialect.name(), pos.framing.name()),
        ("iso87-binary", "len4-ascii")
    );
    assert_eq!(gateway.address.to_string(), "[::1]:8584");
    assert_eq!(gateway.address.host, "::1");
    assert_eq!(
        (gateway.realm.as_str(), gateway.max_frame),
        ("web-shops", 2048)
    );
    let overrides: Vec<_> = gateway
        .response_codes
        .iter()
        .map(|o| (o.reason, o.code.to_string()))
        .collect();
    assert_eq!(
        overrides,
        [
            (Reason::Ceiling, "51".to_owned()),
            (Reason::ReversalUnknown, "00".to_owned())
        ]
    );
    let [domestic, schemes] = config.issuer.as_slice() else {
        panic!("two issuers")
    };
    assert_eq!(
        (domestic.connections, domestic.void_as),
        (4, VoidAs::Reversal)
    );
    assert_eq!(domestic.reversal_done[1].as_bytes(), b"21");
    assert!(!schemes.sign_on && domestic.sign_on);
    assert_eq!(config.refund.unreferenced, Unreferenced::Allow);
    assert!(!config.refund.same_card && config.refund.store_and_forward);
    assert_eq!(config.node.data_dir, Path::new("/var/lib/refundry"));
    assert_eq!(config.saf.max_interval, Duration::from_secs(60));
}

#[test]
fn unknown_keys_name_the_nearest() {
    check_table(
        "[lisen]\nx = 1",
        "1: lisen: unknown key `lisen`; the nearest known one is `listen`",
    );
    check_table(
        "[node]\nnmae = \"x\"",
        "2: node.nmae: unknown key `nmae`; the nearest known one is `name`",
    );
    check_listen(
        "adress = \"x\"",
        "4: listen[0].adress: unknown key `adress`; the nearest known one is `address`",
    );
    check_issuer(
        "retry = 1",
        "9: issuer[0].retry: unknown key `retry`; the nearest known one is `reversal_done`",
    );
    check_issuer(
        "reconnect_minimum = \"1s\"",
        "9: issuer[0].reconnect_minimum: unknown key `reconnect_minimum`; the nearest known one is `reconnect_min`",
    );
    check_table(
        "[saf]\nmax_retry = \"5s\"",
        "2: saf.max_retry: unknown key `max_retry`; the nearest known one is `max_age`",
    );
    check_listen(
        "response_codes = { celing = \"51\" }",
        "4: listen[0].response_codes.celing: unknown reason `celing`; the nearest known one is `ceiling`",
    );
}

#[test]
fn what_comes_later_is_refused_by_name() {
    check_listen(
        "dialect = \"unionpay-pos\"",
        "4: listen[0].dialect: the dialect `unionpay-pos` is not in this version",
    );
    check_listen(
        "tls = { cert = \"x\" }",
        "4: listen[0].tls: `tls` is not in this version",
    );
    check_issuer(
        "tls_ca = \"x\"",
        "9: issuer[0].tls_ca: `tls_ca` is not in this version",
    );
    check_table(
        "[admin]\ntls = true",
        "2: admin.tls: `tls` is not in this version",
    );
    check_listen(
        "response_codes = { limit_count = \"65\" }",
        "4: listen[0].response_codes.limit_count: the reason `limit_count` is not in this version",
    );
}

#[test]
fn wrong_values_say_what_was_expected() {
    let duration =
        "expected a duration such as \"200ms\", \"15s\", \"10m\", \"48h\" or \"180d\", found";
    check_table(
        "[node]\nname = \"\"",
        "2: node.name: expected a name of 1 to 64 bytes, found \"\"",
    );
    check_table(
        "[node]\nname = 7",
        "2: node.name: expected a name of 1 to 64 bytes, found the number 7",
    );
    check_table(
        "[node]\nacquirer_id = \"12a\"",
        "2: node.acquirer_id: expected 1 to 11 digits in quotes, found \"12a\"",
    );
    check_table(
        "[node]\nacquirer_id = 1",
        "2: node.acquirer_id: expected 1 to 11 digits in quotes, found the number 1",
    );
    check_table(
        "[node]\ndrain_timeout = \"10\"",
        &format!("2: node.drain_timeout: {duration} \"10\""),
    );
    check_table(
        "[node]\ndrain_timeout = 10",
        "2: node.drain_timeout: expected a duration such as \"15s\" or \"10m\", in quotes, found the number 10",
    );
    check_table(
        "[node]\nmax_wait = \"10ms\"",
        "2: node.max_wait: expected a duration from \"100ms\" to \"60s\", found \"10ms\"",
    );
    check_table(
        "node = 1",
        "1: node: expected a table [node], found the number 1",
    );
    check_listen(
        "framing = \"len3\"",
        "4: listen[0].framing: unknown framing \"len3\"; expected one of len2, len2-inclusive, len4-ascii, bcd2, ascii, nac, post, gzip, ncc, bcd, hex, amex, base24tcp, vap, cs, gicc, raw, rbp, cmf, vml; the nearest is `len2`",
    );
    check_listen(
        "dialect = \"iso87ascii\"",
        "4: listen[0].dialect: unknown dialect \"iso87ascii\"; expected one of iso87-ascii, iso87-binary; the nearest is `iso87-ascii`",
    );
    check_listen(
        "max_frame = 0",
        "4: listen[0].max_frame: expected a whole number from 128 to 65535, found the number 0",
    );
    check_listen(
        "framing = \"bcd2\"\nmax_frame = 10000",
        "5: listen[0].max_frame: expected a whole number from 128 to 9999, found the number 10000",
    );
    check_listen(
        "max_connections = -1",
        "4: listen[0].max_connections: expected a whole number from 1 to 1000000, found the number -1",
    );
    check_listen(
        "max_connections = 1.5",
        "4: listen[0].max_connections: expected a whole number from 1 to 1000000, found the number 1.5",
    );
    check_listen(
        "realm = \" a\"",
        "4: listen[0].realm: expected a name of 1 to 64 bytes, found \" a\"",
    );
    check_issuer(
        "sign_on = \"yes\"",
        "9: issuer[0].sign_on: expected true or false, found \"yes\"",
    );
    check_issuer(
        "connections = 0",
        "9: issuer[0].connections: expected a whole number from 1 to 256, found the number 0",
    );
    check_issuer(
        "approved = []",
        "9: issuer[0].approved: expected a list of codes such as [\"00\", \"10\"], found an empty one",
    );
    check_issuer(
        "approved = [\"0\"]",
        "9: issuer[0].approved: expected codes of two letters or digits such as \"00\", found \"0\"",
    );
    check_issuer(
        "approved = [\"00\", \"00\"]",
        "9: issuer[0].approved: expected each code once, found \"00\" twice",
    );
    check_issuer(
        "reversal_done = [0]",
        "9: issuer[0].reversal_done: expected a list of codes such as [\"00\", \"10\"], found the number 0 in it",
    );
    check_issuer(
        "void_as = \"Request\"",
        "9: issuer[0].void_as: expected \"request\" or \"reversal\", found \"Request\"",
    );
    check_table(
        "[refund]\nunreferenced = true",
        "2: refund.unreferenced: expected \"decline\" or \"allow\", found true",
    );
    check_table(
        "[ledger]\nmemory = \"4GB\"",
        "2: ledger.memory: expected a size such as \"512MiB\" or \"4GiB\", found \"4GB\"",
    );
    check_table(
        "[ledger]\nmemory = \"1KiB\"",
        "2: ledger.memory: expected at least \"1MiB\", found \"1KiB\"",
    );
    check_table(
        "[ledger]\nengine = \"sled\"",
        "2: ledger.engine: expected \"embedded\" or \"postgres\", found \"sled\"",
    );
    check_table(
        "[secrets]\nkey_file = \"\"",
        "2: secrets.key_file: expected a path, found an empty one",
    );
}

#[test]
fn addresses() {
    let expected = "expected HOST:PORT such as \"127.0.0.1:8583\", \"[::1]:8583\" or \"bank.example:9101\", found";
    for wrong in [
        "",
        "127.0.0.1",
        ":8583",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:+1",
        "300.0.0.1:1",
        "::1:8583",
        "[x]:1",
        "a b:1",
    ] {
        check_table(
            &format!("[admin]\naddress = \"{wrong}\""),
            &format!("2: admin.address: {expected} \"{wrong}\""),
        );
    }
    for right in [
        "127.0.0.1:0",
        "[::1]:9583",
        "localhost:9583",
        "metrics.node_1.example:80",
    ] {
        let config = parse(&format!("[admin]\naddress = \"{right}\"\n{MINIMAL}")).unwrap();
        assert_eq!(config.admin.address.to_string(), right);
    }
    let text = MINIMAL.replace("9101", "0");
    assert_eq!(
        problem(&text),
        "7: issuer[0].address: expected a port other than 0 to connect to"
    );
}

#[test]
fn prefixes() {
    let check = |bins: &str, expected: &str| {
        let text = MINIMAL.replace("[\"4\", \"51-55\", \"62\"]", bins);
        assert_eq!(problem(&text), format!("8: issuer[0].bins: {expected}"));
    };
    let each = "are as long and overlap; expected each prefix once";
    check(
        "[]",
        "expected a list of PAN prefixes such as [\"4\", \"51-55\"], found an empty one",
    );
    check(
        "\"4\"",
        "expected a list of PAN prefixes such as [\"4\", \"51-55\"], found \"4\"",
    );
    check("[\"4\", \"4\"]", &format!("\"4\" and \"4\" {each}"));
    check(
        "[\"51-55\", \"53\"]",
        &format!("\"53\" and \"51-55\" {each}"),
    );
    check(
        "[\"55-51\"]",
        "expected the lower end of the range first: \"51-55\"",
    );
    let first = "expected the lower end of the range first";
    check(
        "[\"55-51\", \"4\", \"9-8\"]",
        &format!("{first}: \"51-55\"; {first}: \"8-9\""),
    );
    assert!(
        parse(&MINIMAL.replace("\"62\"]", "\"41\", \"411111\"]")).is_ok(),
        "the longest match wins"
    );
    let second = "[[issuer]]\nname = \"bank-b\"\naddress = \"h:1\"\nbins = [\"6\", \"50-52\"]\n";
    assert_eq!(
        problem(&format!("{MINIMAL}{second}")),
        format!(
            "12: issuer[1].bins: \"50-52\" and \"51-55\" of issuer \"bank-a\" are as long and overlap; expected each prefix once"
        )
    );
}

#[test]
fn response_codes_keep_their_promises() {
    let check = |entry: &str, expected: &str| {
        let key = entry.split(' ').next().unwrap();
        check_listen(
            &format!("response_codes = {{ {entry} }}"),
            &format!("4: listen[0].response_codes.{key}: {expected}"),
        );
    };
    let moved = "would tell the terminal that money moved";
    check(
        "ceiling = \"00\"",
        &format!("only reasons that begin with `reversal_` may become 00; `ceiling` {moved}"),
    );
    check(
        "reversed = \"00\"",
        &format!("only reasons that begin with `reversal_` may become 00; `reversed` {moved}"),
    );
    check(
        "approved = \"00\"",
        "`approved` always keeps its code; expected another reason",
    );
    check(
        "declined = \"05\"",
        "`declined` always keeps its code; expected another reason",
    );
    check(
        "ceiling = \"5\"",
        "expected a code of two letters or digits such as \"05\", found \"5\"",
    );
    check(
        "ceiling = 51",
        "expected a code of two letters or digits such as \"05\", found the number 51",
    );
    let reversals = "response_codes = { reversal_unknown = \"00\", reversal_terminal = \"00\", reversal_has_refunds = \"00\", mac_ = \"A0\" }";
    let text = MINIMAL.replace(
        "8583\"\n",
        &format!("8583\"\n{}\n", reversals.replace(", mac_ = \"A0\"", "")),
    );
    assert_eq!(parse(&text).unwrap().listen[0].response_codes.len(), 3);
}

#[test]
fn parts_must_fit_each_other() {
    check_issuer(
        "reconnect_min = \"1m\"",
        "9: issuer[0].reconnect_min: expected reconnect_min (\"60s\") not longer than reconnect_max (\"10s\")",
    );
    check_issuer(
        "reconnect_max = \"100ms\"",
        "9: issuer[0].reconnect_max: expected reconnect_min (\"200ms\") not longer than reconnect_max (\"100ms\")",
    );
    check_table(
        "[saf]\nretry_interval = \"6m\"",
        "2: saf.retry_interval: expected retry_interval (\"6m\") not longer than max_interval (\"5m\")",
    );
    check_table(
        "[saf]\nmax_age = \"1m\"",
        "2: saf.max_age: expected max_interval (\"5m\") not longer than max_age (\"60s\")",
    );
    let listener = "[[listen]]\nname = \"pos\"\naddress = \"127.0.0.1:1\"\n";
    check_table(
        listener,
        "6: listen[1].name: expected a name of its own; another listener is called \"pos\" too",
    );
    let listener = "[[listen]]\nname = \"web\"\naddress = \"127.0.0.1:8583\"\n";
    check_table(
        listener,
        "7: listen[1].address: expected an address of its own; \"127.0.0.1:8583\" is taken above",
    );
    check_table(
        "[admin]\naddress = \"127.0.0.1:8583\"",
        "2: admin.address: expected an address of its own; \"127.0.0.1:8583\" is taken above",
    );
    let issuer = "[[issuer]]\nname = \"bank-a\"\naddress = \"h:1\"\nbins = [\"9\"]\n";
    check_table(
        issuer,
        "11: issuer[1].name: expected a name of its own; another issuer is called \"bank-a\" too",
    );
    let key = "expected a file outside node.data_dir: whoever copies the ledger must not get its keys with it";
    check_table(
        "[secrets]\nkey_file = \"refundry-data/k\"",
        &format!("2: secrets.key_file: {key}"),
    );
    check_table(
        "[secrets]\nkey_file = \"x/../refundry-data/k\"",
        &format!("2: secrets.key_file: {key}"),
    );
}

#[test]
fn something_must_be_there() {
    let (listen, issuer) = MINIMAL.split_once("\n\n").unwrap();
    assert_eq!(
        problem(issuer),
        "listen: expected at least one [[listen]], an address that terminals connect to"
    );
    assert!(problem(listen).ends_with(
        "issuer: expected at least one [[issuer]], a host that transactions are sent to"
    ));
    assert_eq!(parse("").unwrap_err().problems().len(), 2);
    check_table(
        "[[listen]]\naddress = \"h:1\"",
        "1: listen[0].name: is missing; expected the listener's name",
    );
    check_table(
        "[[issuer]]\nname = \"b\"\naddress = \"h:1\"",
        "1: issuer[0].bins: is missing; expected PAN prefixes such as [\"4\", \"51-55\"]",
    );
    let single = MINIMAL.replace("[[listen]]", "[listen]");
    assert_eq!(
        problem(&single),
        "1: listen: expected tables [[listen]] (double brackets), found a single table [listen]"
    );
}

#[test]
fn every_problem_is_reported_in_the_order_of_the_file() {
    let text = "[node]\nname = 1\nfoo = 2\n[[listen]]\nname = \"a\"\naddress = \"x\"\n[saf]\nmax_age = 3\n";
    let error = parse(text).unwrap_err();
    let lines: Vec<_> = error
        .problems()
        .iter()
        .map(|problem| problem.line)
        .collect();
    assert_eq!(lines, [None, Some(2), Some(3), Some(6), Some(8)]);
    assert_eq!(error.to_string().lines().count(), 5);
}

#[test]
fn what_is_no_toml_names_the_line() {
    let error = parse("[node]\nname = \"x\"\n\n[[listen]\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("/etc/refundry.toml:4: is not TOML: "),
        "{error}"
    );
    let error = parse("[node]\nname = \"x\"\nname = \"y\"\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("/etc/refundry.toml:3: is not TOML: duplicate key"),
        "{error}"
    );
}

proptest::proptest! {
    /// Whatever stands in the file, the answer is a configuration or a list of problems.
    #[test]
    fn any_text_leads_to_an_answer(
        at in 0..TWO_ISSUERS.len(),
        drop in 0..40_usize,
        insert in r#"[\[\]{}"=.,#a-z0-9\n -]{0,12}|\PC{0,4}"#,
    ) {
        let end = (at + drop).min(TWO_ISSUERS.len());
        let text = format!("{}{insert}{}", &TWO_ISSUERS[..at], &TWO_ISSUERS[end..]);
        match parse(&text) {
            Ok(config) => proptest::prop_assert!(parse(&config.to_toml()).is_ok()),
            Err(error) => proptest::prop_assert!(!error.problems().is_empty()),
        }
    }
}

#[test]
fn framings_by_name_and_by_column() {
    let framing = |line: &str| {
        let text = MINIMAL.replace("8583\"\n", &format!("8583\"\n{line}\n"));
        let config = parse(&text).unwrap();
        let shown = config.to_toml();
        let again = parse(&shown).unwrap();
        assert_eq!(again.listen[0].framing, config.listen[0].framing, "{shown}");
        config.listen[0].clone()
    };
    for name in Framing::NAMES {
        let listen = framing(&format!("framing = \"{name}\""));
        assert_eq!(listen.framing.name(), *name);
        assert!(listen.max_frame <= listen.framing.message_bytes_max());
    }
    assert_eq!(framing("framing = \"vml\"").max_frame, 2048);
    let table = "[listen.framing]\npreset = \"nac\"\ntpdu = \"6000030000\"\ntpdu_swap = false\n";
    let columns = framing(table).framing.columns();
    assert_eq!(columns.tpdu, Some(Tpdu([0x60, 0, 3, 0, 0])));
    assert!(!columns.tpdu_swap);
    let every = "framing = { length = \"hex\", width = 6, counts_itself = true, counts_trailer = false, counts_more = -2, \
                 before = \"D04A\", after = \"00\", trailer = \"0304\", check_fixed = false, tpdu = \"6000030000\", \
                 tpdu_swap = false, form = \"session-flag\", zero_length = \"error\", longest = 999 }";
    check_listen(
        every,
        "4: listen[0].framing.after: the form \"session-flag\" has two bytes of its own behind the length; expected no `after`",
    );
    let listen = framing(&every.replace("after = \"00\", ", ""));
    let columns = listen.framing.columns();
    assert_eq!(
        (columns.width, columns.counts_more, columns.longest),
        (6, -2, Some(999))
    );
    assert!(columns.counts_itself && !columns.counts_trailer && !columns.check_fixed);
    assert_eq!(columns.before.as_slice(), [0xD0, 0x4A]);
    assert_eq!(columns.trailer.as_slice(), [3, 4]);
    assert!(!columns.zero_is_keep_alive);
    assert_eq!(listen.max_frame, 999);
    assert_eq!(
        framing("framing = \"raw\"\nmax_frame = 65535").max_frame,
        65_535
    );
}

#[test]
fn wrong_framings_say_what_was_expected() {
    for (line, expected) in [
        (
            "framing = 2",
            "framing: expected the name of a framing, or a table of its columns, found the number 2",
        ),
        (
            "framing = { width = 5 }",
            "framing.width: a length of 5 bytes; expected 1 to 4 for the kind \"binary\"",
        ),
        (
            "framing = { lenght = \"bcd\" }",
            "framing.lenght: unknown key `lenght`; the nearest known one is `length`",
        ),
        (
            "framing = { length = \"decimal\" }",
            "framing.length: expected \"binary\" or \"little-endian\" or \"ascii\" or \"hex\" or \"bcd\", found \"decimal\"",
        ),
        (
            "framing = { tpdu = \"60\" }",
            "framing.tpdu: expected the five bytes of a TPDU as ten hexadecimal digits such as \"6000030000\", found \"60\"",
        ),
        (
            "framing = { before = \"0\" }",
            "framing.before: expected at most 8 bytes as hexadecimal digits such as \"D04A\", found \"0\"",
        ),
        (
            "framing = { counts_more = -65 }",
            "framing.counts_more: expected a whole number from -64 to 64, found the number -65",
        ),
        (
            "framing = { length = \"ascii\" }",
            "framing.width: the length can say 99 bytes of message at most; expected room for 128",
        ),
        (
            "tpdu = \"6000030000\"",
            "tpdu: a TPDU is a part of the framing; expected framing = { preset = \"nac\", tpdu = \"6000030000\" }",
        ),
        (
            "framing = \"vml\"\nmax_frame = 4096",
            "max_frame: expected a whole number from 128 to 2048, found the number 4096",
        ),
    ] {
        let text = MINIMAL.replace("8583\"\n", &format!("8583\"\n{line}\n"));
        let line = 4 + line.matches('\n').count();
        assert_eq!(problem(&text), format!("{line}: listen[0].{expected}"));
    }
}

#[test]
fn framings_on_the_command_line() {
    for text in [
        "preset = \"nac\", tpdu = \"6000030000\"",
        "{ preset = \"nac\", tpdu = \"6000030000\" }",
    ] {
        let framing = parse_framing(text).unwrap();
        assert_eq!(framing.columns().tpdu, Some(Tpdu([0x60, 0, 3, 0, 0])));
    }
    let wrong = parse_framing("width = 9").unwrap_err();
    assert_eq!(
        wrong,
        "framing.width: expected a whole number from 1 to 8, found the number 9"
    );
    assert!(
        parse_framing("width = ")
            .unwrap_err()
            .contains("preset = \"nac\"")
    );
}
