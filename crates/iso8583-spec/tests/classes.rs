//! The bytes of every field class of jPOS, as its documentation and source have them.

#![allow(clippy::unwrap_used, reason = "what a test cannot read is its failure")]

use bytes::BytesMut;
use iso8583_codec::describe::parse_hex;
use iso8583_codec::{Mti, Record, Value};
use iso8583_spec::{Format, Loaded, Options, Problem, parse};

fn packager(rows: &str) -> Result<Loaded, Vec<Problem>> {
    let text = format!(
        "<isopackager>
        <isofield id=\"0\" length=\"4\" name=\"\" class=\"org.jpos.iso.IFA_NUMERIC\"/>
        <isofield id=\"1\" length=\"8\" name=\"\" class=\"org.jpos.iso.IFB_BITMAP\"/>
        {rows}</isopackager>"
    );
    parse(&text, "test", Format::Jpos, Options::default())
}

/// Bytes are written `x'0102'`, text as it is.
fn value(text: &str) -> Value {
    match text
        .strip_prefix("x'")
        .and_then(|rest| rest.strip_suffix('\''))
    {
        Some(hex) => Value::Bytes(parse_hex(hex).unwrap()),
        None => Value::from(text),
    }
}

/// A value in a field of this class and length is these bytes, and those are the value again.
#[track_caller]
fn check(class: &str, length: u32, given: &str, hex: &str) {
    check_as(class, length, given, given, hex);
}

/// The same where what comes back is not what was given, since it was filled.
#[track_caller]
fn check_as(class: &str, length: u32, given: &str, back: &str, hex: &str) {
    let (class, attributes) = class.split_once(' ').unwrap_or((class, ""));
    let class = match class.starts_with("org.") {
        true => class.to_owned(),
        false => format!("org.jpos.iso.{class}"),
    };
    let loaded = packager(&format!(
        "<isofield id=\"2\" length=\"{length}\" name=\"\" class=\"{class}\" {attributes}/>"
    ))
    .unwrap();
    let mut record = Record::new(Mti::literal("0800"));
    record.set("2", value(given)).unwrap();
    let mut out = BytesMut::new();
    record.encode(&loaded.spec, &mut out).unwrap();
    let field: String = out[12..].iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(field, hex, "{class}");
    let decoded = Record::decode(&loaded.spec, &out).unwrap();
    assert_eq!(decoded.get("2"), Some(&value(back)), "{class}");
}

#[test]
fn characters() {
    check_as("IF_CHAR", 4, "ab", "ab  ", "61622020");
    check_as("IF_CHAR trim=\"true\"", 4, "ab", "ab", "61622020");
    check("IFA_LCHAR", 9, "ab", "326162");
    check("IFA_LLCHAR", 99, "ab", "30326162");
    check("IFA_LLLCHAR", 999, "ab", "3030326162");
    check("IFA_LLLLCHAR", 9999, "ab", "303030326162");
    check("IFA_LLLLLCHAR", 9999, "ab", "30303030326162");
    check("IFA_LLLLLLCHAR", 9999, "ab", "3030303030326162");
    check("IFA_FLLCHAR", 4, "ab", "303261622020");
    check("IFB_LLCHAR", 99, "ab", "026162");
    check("IFB_LLLCHAR", 999, "ab", "00026162");
    check("IFB_LLLLCHAR", 9999, "ab", "00026162");
    check("IFB_LLLLLLCHAR", 9999, "ab", "0000026162");
    check("IFB_LLHCHAR", 255, "ab", "026162");
    check("IFB_LLLHCHAR", 999, "ab", "00026162");
    check("IFB_LLHECHAR", 255, "AB", "02C1C2");
    check("IFB_LLLHECHAR", 999, "AB", "0002C1C2");
    check_as("IFE_CHAR", 4, "AB", "AB  ", "C1C24040");
    check_as("IF_ECHAR", 4, "AB", "AB  ", "C1C24040");
    check("IFE_LCHAR", 9, "AB", "F2C1C2");
    check("IFE_LLCHAR", 99, "AB", "F0F2C1C2");
    check("IFE_LLLCHAR", 999, "AB", "F0F0F2C1C2");
    check("IFE_LLLLCHAR", 999, "AB", "F0F0F0F2C1C2");
    check("IFE_LLCHAR", 99, "[^]", "F0F3AD5FBD");
    check("IFE_LLCHAR encoding=\"Cp037\"", 99, "[^]", "F0F3BAB0BB");
    check("IFEA_LLCHAR", 99, "AB", "F0F24142");
    check("IFAE_LLCHAR", 99, "AB", "3032C1C2");
    check("IF_TCHAR token=\";;\"", 9, "ab", "61623B3B");
    check("org.jpos.tlv.packager.IF_FSTCHAR", 9, "ab", "61625C");
    check("org.jpos.tlv.packager.IF_FCHAR", 9, "ab", "6162");
}

#[test]
fn digits() {
    check_as("IFA_NUMERIC", 4, "12", "0012", "30303132");
    check("IFA_LLNUM", 19, "123", "3033313233");
    check("IFA_LLLNUM", 19, "123", "303033313233");
    check("IFA_LLBNUM", 19, "1234", "30341234");
    check("IFA_FLLNUM", 5, "123", "30333132332020");
    check_as("IFB_NUMERIC pad=\"true\"", 3, "12", "012", "0012");
    check_as("IFB_NUMERIC pad=\"false\"", 3, "12", "012", "0120");
    check("IFB_FNUMERIC", 3, "123", "123F");
    check("IFB_LLNUM pad=\"true\"", 19, "123", "030123");
    check("IFB_LLNUM", 19, "123", "031230");
    check("IFB_LLLNUM", 19, "123", "00031230");
    check("IFB_FLLNUM", 19, "123", "03123F");
    check("IFB_FLLLNUM", 19, "123", "0003123F");
    check(
        "IFB_LLHNUM pad=\"true\"",
        19,
        "12345678901",
        "0B012345678901",
    );
    check("IFB_LLLHNUM", 19, "123", "00031230");
    check_as("IFE_NUMERIC", 4, "12", "0012", "F0F0F1F2");
    check_as("IFE_SIGNED_NUMERIC", 4, "-12", "-0012", "F0F0F1D2");
    check_as("IFE_SIGNED_NUMERIC", 4, "12", "0012", "F0F0F1F2");
    check("IFE_LLNUM", 19, "12", "F0F2F1F2");
    check("IFE_LLLNUM", 19, "12", "F0F0F2F1F2");
    check("IFEB_LLNUM", 19, "123", "F0F2123F");
    check("IFEB_LLNUM", 19, "1234", "F0F21234");
    check("IFEB_LLLNUM", 19, "123", "F0F0F2123F");
    check_as("IFA_AMOUNT", 9, "D150", "D00000150", "443030303030313530");
    check_as(
        "IFB_AMOUNT pad=\"true\"",
        9,
        "D150",
        "D00000150",
        "4400000150",
    );
    check_as("IFE_AMOUNT", 5, "C12", "C0012", "C3F0F0F1F2");
    check_as("IFA_AMOUNT2003", 4, "12", "0012", "30303132");
    check_as("IFB_AMOUNT2003 pad=\"true\"", 4, "12", "0012", "0012");
}

#[test]
fn bytes() {
    check("IFA_BINARY", 2, "x'0FA0'", "30464130");
    check("IFA_LBINARY", 9, "x'0FA0'", "320FA0");
    check("IFA_LLBINARY", 99, "x'0FA0'", "30320FA0");
    check("IFA_LLLBINARY", 99, "x'0FA0'", "3030320FA0");
    check("IFA_LLLLBINARY", 99, "x'0FA0'", "303030320FA0");
    check("IFA_LLLLLBINARY", 99, "x'0FA0'", "30303030320FA0");
    check("IFA_LLLLLLBINARY", 99, "x'0FA0'", "3030303030320FA0");
    check("IFA_LLABINARY", 99, "x'0FA0'", "303230464130");
    check("IFA_LLLABINARY", 99, "x'0FA0'", "30303230464130");
    check("IFB_BINARY", 2, "x'0FA0'", "0FA0");
    check("IFB_LLBINARY", 99, "x'0FA0'", "020FA0");
    check("IFB_LLLBINARY", 99, "x'0FA0'", "00020FA0");
    check("IFB_LLLLBINARY", 9999, "x'0FA0'", "00020FA0");
    check("IFB_LLHBINARY", 255, "x'0FA0'", "020FA0");
    check("IFB_LLLHBINARY", 999, "x'0FA0'", "00020FA0");
    check("IFB_LLHFBINARY", 4, "x'0FA0'", "020FA00000");
    check("IFB_HEX pad=\"true\"", 3, "FA0", "0FA0");
    check("IFB_HEX", 3, "FA0", "FA0F");
    check("IFB_LLHEX", 40, "x'0FA0'", "040FA0");
    check("IFB_LLLHEX", 99, "x'0FA0'", "00040FA0");
    check("IFE_BINARY", 2, "x'0FA0'", "F0C6C1F0");
    check("IFE_LBINARY", 9, "x'0FA0'", "F20FA0");
    check("IFE_LLBINARY", 99, "x'0FA0'", "F0F20FA0");
    check("IFE_LLLBINARY", 99, "x'0FA0'", "F0F0F20FA0");
    check("IFE_LLLLBINARY", 99, "x'0FA0'", "F0F0F0F20FA0");
    check("IFE_LLLEBINARY", 99, "x'4142'", "F0F0F2C1C2");
    check(
        "org.jpos.tlv.packager.IFB_LHBINARY",
        99,
        "x'0FA0'",
        "020FA0",
    );
    check("org.jpos.tlv.packager.IF_FBINARY", 99, "x'0FA0'", "0FA0");
    check(
        "org.jpos.tlv.packager.IF_FSTBINARY",
        99,
        "x'0FA0'",
        "0FA05C",
    );
}

/// Two subfields of a tagged class are these bytes of a field whose own class is plain.
#[track_caller]
fn check_tagged(packager_class: &str, class: &str, given: &str, hex: &str) {
    let loaded = packager(&format!(
        "<isofieldpackager id=\"2\" length=\"999\" name=\"\" class=\"org.jpos.iso.IFB_LLLLBINARY\"
            packager=\"org.jpos.iso.packager.{packager_class}\" emitBitmap=\"false\"
            tagMapper=\"org.jpos.iso.packager.TTDecimalTagMapper\">
          <isofield id=\"5\" length=\"9\" name=\"\" class=\"org.jpos.iso.{class}\"/>
        </isofieldpackager>"
    ))
    .unwrap();
    let mut record = Record::new(Mti::literal("0800"));
    record.set("2.5", value(given)).unwrap();
    let mut out = BytesMut::new();
    record.encode(&loaded.spec, &mut out).unwrap();
    let field: String = out[14..].iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(field, hex, "{class}");
    let decoded = Record::decode(&loaded.spec, &out).unwrap();
    assert_eq!(decoded.get("2.5"), Some(&value(given)), "{class}");
}

#[test]
fn tags() {
    let mapped = "GenericTaggedFieldsPackager";
    check_tagged(mapped, "IFA_TTLCHAR", "AB", "3035324142");
    check_tagged(mapped, "IFA_TTLLCHAR", "AB", "303530324142");
    check_tagged(mapped, "IFA_TTLLLCHAR", "AB", "30353030324142");
    check_tagged(mapped, "IFA_TTLLLLCHAR", "AB", "3035303030324142");
    check_tagged(mapped, "IFA_TTTLLLCHAR", "AB", "3030353030324142");
    check_tagged(mapped, "IFA_TTLBINARY", "x'0FA0'", "3035320FA0");
    check_tagged(mapped, "IFA_TTLLBINARY", "x'0FA0'", "303530320FA0");
    check_tagged(mapped, "IFA_TTLLLBINARY", "x'0FA0'", "30353030320FA0");
    check_tagged(mapped, "IFA_TTLLLLBINARY", "x'0FA0'", "3035303030320FA0");
    let euro = "EuroSubFieldPackager";
    check_tagged(euro, "IFEP_LLCHAR", "AB", "303430354142");
    check_tagged(euro, "IFMC_LLCHAR", "AB", "303530324142");
    check_tagged(euro, "IFMC_LLLCHAR", "AB", "30353030324142");
    check_tagged(euro, "IFMC_LLBINARY", "x'0FA0'", "303530320FA0");
    check_tagged(euro, "IFMC_LLLBINARY", "x'0FA0'", "30353030320FA0");
    check_tagged(euro, "IFIPM_LLLCHAR", "AB", "303030353030324142");
    let ebcdic = "MasterCardEBCDICSubFieldPackager";
    check_tagged(ebcdic, "IFEPE_LLCHAR", "AB", "F0F5F0F2C1C2");
    check_tagged(ebcdic, "IFEPE_LLLCHAR", "AB", "F0F0F5F0F0F2C1C2");
    check_tagged(ebcdic, "IFEPE_LLBINARY", "x'0FA0'", "F0F5F0F20FA0");
    check_tagged(ebcdic, "IFEMC_LLCHAR", "AB", "3035F0F2C1C2");
    check_tagged(ebcdic, "IFEMC_LLLCHAR", "AB", "F0F0F0F5F0F0F2C1C2");
    let gicc = "GICCSubFieldPackager";
    check_tagged(gicc, "IFEP_LLLCHAR", "AB", "F0F0F4F0F54142");
    check_tagged(gicc, "IFEP_LLLBINARY", "x'0FA0'", "F0F0F4F0F50FA0");
    check_tagged(gicc, "IFELPE_LLLCHAR", "AB", "F0F0F4F0F5C1C2");
}

/// A file may declare entities; ones that would grow to more than any memory are refused.
#[test]
fn entities_are_bounded() {
    let mut declared = String::from("<!ENTITY e0 \"boom\">");
    for level in 1..40 {
        let before = format!("&e{};", level - 1).repeat(10);
        declared.push_str(&format!("<!ENTITY e{level} \"{before}\">"));
    }
    let text = format!(
        "<!DOCTYPE isopackager [{declared}]><isopackager><isofield id=\"0\" name=\"&e39;\"/></isopackager>"
    );
    assert!(parse(&text, "", Format::Jpos, Options::default()).is_err());
}
