use super::*;
use proptest::prelude::*;

const MESSAGE: &[u8] = b"0800822000000000\x00\xff0 1";

fn read(text: &str, one: bool) -> Vec<Result<Vec<u8>, String>> {
    let mut reader = TextReader::new(one);
    let mut found: Vec<Pasted> = text.lines().flat_map(|line| reader.line(line)).collect();
    found.extend(reader.finish());
    found
        .into_iter()
        .map(|result| result.map_err(|error| error.to_string()))
        .collect()
}

#[track_caller]
fn check(text: &str, messages: &[&[u8]]) {
    let expected: Vec<Result<Vec<u8>, String>> =
        messages.iter().map(|bytes| Ok(bytes.to_vec())).collect();
    assert_eq!(read(text, false), expected, "{text}");
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    let found = read(text, false);
    assert!(
        found
            .iter()
            .any(|result| result.as_ref() == Err(&expected.to_owned())),
        "{found:?}"
    );
}

#[test]
fn digits_in_any_grouping() {
    for text in [
        "0200ff",
        " 02 00 fF ",
        "02:00:FF",
        "02-00-ff",
        "0x02 0x00, 0xff",
        "0x0200FF",
        "0x2, 0x0, 0xff",
        r"\x02\x00\xff",
        "\"\\x02\\x00\\xff\"",
        "{ 0x02, 0x00, /* end */ 0xff };",
        "unsigned char message[3] = { 0x02, 0x00,\n 0xff };",
        "0x02, 0x00,\n0xff",
        "\"\\x02\\x00\" \\\n\"\\xff\"",
    ] {
        check(text, &[&[2, 0, 0xFF]]);
    }
}

#[test]
fn a_message_a_line() {
    check("# one\n0200\n\n0210\r\n", &[&[2, 0], &[2, 0x10]]);
    check("02000000  30\n0200", &[&[2, 0, 0, 0, 0x30], &[2, 0]]);
    check("", &[]);
    assert_eq!(
        read("0200\n\n# two\n7224", true),
        [Ok(vec![2, 0, 0x72, 0x24])]
    );
}

#[test]
fn dumps_of_all_kinds() {
    for text in [
        "00000000: 3038 3030 3832 3230 3030 3030 3030 3030  0800822000000000\n00000010: 00ff 3020 31                             ..0 1",
        "00000000  30 38 30 30 38 32 32 30  30 30 30 30 30 30 30 30  |0800822000000000|\n00000010  00 ff 30 20 31                                    |..0 1|\n00000015",
        "0000   30 38 30 30 38 32 32 30 30 30 30 30 30 30 30 30   0800822000000000\n0010   00 ff 30 20 31                                    ..0 1",
        "0000  30 38 30 30 38 32 32 30  30 30 30 30 30 30 30 30   08008220 00000000\n0010  00 ff 30 20 31                                     ..0 1",
        "\t0x0000:  3038 3030 3832 3230 3030 3030 3030 3030  0800822000000000\n\t0x0010:  00ff 3020 31                             ..0.1",
        "0000000 30 38 30 30 38 32 32 30 30 30 30 30 30 30 30 30\n0000020 00 ff 30 20 31\n0000025",
        "000000 30 38 30 30 38 32 32 30 30 30 30 30 30 30 30 30  >0800822000000000<\n000010 00 ff 30 20 31  >..0 1<\n000015",
        "0000  30383030 38323230 30303030 30303030\n0010  00ff3020 31",
        // A column in EBCDIC that looks like bytes.
        "0000  30 38 30 30 38 32 32 30 30 30 30 30 30 30 30 30  12 34\n0010  00 ff 30 20 31",
    ] {
        check(text, &[MESSAGE]);
    }
}

#[test]
fn dumps_one_behind_the_other() {
    check(
        "0000  02 00  ..\n0000  02 10  ..\n\n0800\n0000  30  0\n",
        &[&[2, 0], &[2, 0x10], &[8, 0], &[0x30]],
    );
    let zeros = "00000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n*\n00000030  01  |.|\n00000031";
    let mut expected = vec![0; 48];
    expected.push(1);
    check(zeros, &[&expected]);
}

#[test]
fn what_is_wrong_and_where() {
    check_error(
        "0200\n02g0",
        "line 2, column 3: expected a hexadecimal digit",
    );
    check_error(
        "020",
        "line 1, column 4: expected one more hexadecimal digit",
    );
    check_error("0x02 0x", "line 1, column 8: expected a hexadecimal digit");
    check_error("é0", "line 1, column 1: expected a hexadecimal digit");
    check_error(
        "0000  30 3x 30\n0010  30",
        "line 1, column 11: expected a hexadecimal digit",
    );
    check_error(
        "00000000: 3030 30\n00000010: 30",
        "line 2, column 1: the offset does not fit the rows before it",
    );
    check_error(
        "0000000 3830 3030\n0000004",
        "line 1, column 8: words in the order of the machine; expected bytes, as of `hexdump -C` or `xxd`",
    );
    assert_eq!(read("zz\n0200", false).last(), Some(&Ok(vec![2, 0])));
}

fn dump(bytes: &[u8], style: usize) -> String {
    let rows = bytes.chunks(16).enumerate().map(|(row, bytes)| {
        let offset = row * 16;
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let characters: String = bytes
            .iter()
            .map(|byte| {
                if (0x20..0x7F).contains(byte) {
                    char::from(*byte)
                } else {
                    '.'
                }
            })
            .collect();
        match style {
            0 => format!("{offset:08x}  {:<48} |{characters}|\n", hex.join(" ")),
            1 => {
                let words: Vec<String> = hex.chunks(2).map(|pair| pair.concat()).collect();
                format!("{offset:08x}: {:<39}  {characters}\n", words.join(" "))
            }
            2 => format!("{offset:04x}   {:<47}   {characters}\n", hex.join(" ")),
            _ => format!("{offset:06o} {}\n", hex.join(" ")),
        }
    });
    rows.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dump_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 1..200), style in 0usize..4) {
        prop_assert_eq!(read(&dump(&bytes, style), false), [Ok(bytes)]);
    }

    #[test]
    fn a_dump_of_text_is_read_back(text in "[0-9A-F =|.]{1,100}", style in 0usize..4) {
        prop_assert_eq!(read(&dump(text.as_bytes(), style), false), [Ok(text.into_bytes())]);
    }

    #[test]
    fn any_text_ends_in_messages_or_errors_within_it(text in "[0-9a-fA-Fxg:| *\n{},.-]{0,200}", one: bool) {
        let mut reader = TextReader::new(one);
        for line in text.lines() {
            for error in reader.line(line).into_iter().filter_map(Result::err) {
                prop_assert!(error.column <= line.chars().count() + 1);
            }
        }
    }
}
