//! Messages that own their values, of any dialect, with their subfields.

mod build;
#[cfg(feature = "serde")]
mod serde;

use std::collections::BTreeMap;
use std::fmt;

use bytes::BytesMut;

use crate::error::{DecodeErrorKind, ReadError, WriteError, WriteErrorKind};
use crate::general::read;
use crate::general::subfield::{Content, Subfield};
use crate::general::{Fault, head, write};
use crate::message::Message;
use crate::model::{Bitmap, Dialect, ELEMENT_MAX};
use crate::mti::Mti;
use crate::spec::Spec;

/// Most bytes of a message.
const FRAME_BYTES_MAX: usize = u16::MAX as usize;

/// Bits of one bitmap of eight bytes.
const MAP_BITS: u16 = 64;

/// The value of a field, or its subfields.
///
/// `Debug` shows lengths only, since a value may be card data.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Digits or characters. Those above 127 are bytes of the message by their Latin-1 numbers.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Subfields.
    Group(Group),
}

impl Value {
    /// The text; `None` if it is none.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes; `None` if they are none.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The subfields; `None` if it has none.
    #[must_use]
    pub fn as_group(&self) -> Option<&Group> {
        match self {
            Self::Group(group) => Some(group),
            _ => None,
        }
    }

    fn of(binary: bool, content: Content<'_>) -> Self {
        match content {
            Content::Value(bytes) if binary => Self::Bytes(bytes),
            Content::Value(bytes) => Self::Text(bytes.into_iter().map(char::from).collect()),
            Content::Fields(fields) => Self::Group(
                fields
                    .into_iter()
                    .map(|field| {
                        let (key, binary, content) = field.into_parts();
                        (key, Self::of(binary, content))
                    })
                    .collect(),
            ),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} characters)", text.chars().count()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Group(group) => group.fmt(f),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<Subfield<'_>> for Value {
    fn from(subfield: Subfield<'_>) -> Self {
        let (_, binary, content) = subfield.into_parts();
        Self::of(binary, content)
    }
}

impl From<Group> for Value {
    fn from(group: Group) -> Self {
        Self::Group(group)
    }
}

/// Subfields by number or tag, in the order of the message; a tag may come more than once.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Group(Vec<(String, Value)>);

impl Group {
    /// No subfields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with another subfield at the end.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.push(key, value);
        self
    }

    /// Adds a subfield at the end, beside others of this key.
    pub fn push(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.0.push((key.into(), value.into()));
    }

    /// The first subfield of this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0
            .iter()
            .find_map(|(other, value)| (other == key).then_some(value))
    }

    /// Subfields and their keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first subfield of this key, which becomes an empty group at the end if there is none.
    fn entry(&mut self, key: &str) -> Option<&mut Value> {
        let index = match self.0.iter().position(|(other, _)| other == key) {
            Some(index) => index,
            None => {
                self.push(key, Group::new());
                self.0.len().saturating_sub(1)
            }
        };
        self.0.get_mut(index).map(|(_, value)| value)
    }

    fn remove(&mut self, key: &str) -> Option<Value> {
        let index = self.0.iter().position(|(other, _)| other == key)?;
        Some(self.0.remove(index).1)
    }
}

impl FromIterator<(String, Value)> for Group {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// A message that owns its values, subfields too.
///
/// It has no limits of size, knows all of a dialect, and costs allocations: the view that does not is [`Message`], and what
/// changes one on its way is a [`Draft`](crate::Draft).
///
/// ```
/// use bytes::BytesMut;
/// use iso8583_codec::{Mti, Record, Spec};
///
/// let mut request = Record::new(Mti::literal("0200"));
/// request.set("3", "200000")?.set("4", "000000001250")?.set("11", "000123")?.set("64", vec![0; 8])?;
/// let mut frame = BytesMut::new();
/// request.encode(Spec::iso87_binary(), &mut frame)?;
///
/// let read = Record::decode(Spec::iso87_binary(), &frame)?;
/// assert_eq!(read, request);
/// assert_eq!(read.get("4").and_then(|amount| amount.as_text()), Some("000000001250"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    mti: Mti,
    header: Vec<u8>,
    fields: BTreeMap<u8, Value>,
}

impl Record {
    /// A message without elements.
    #[must_use]
    pub fn new(mti: Mti) -> Self {
        Self {
            mti,
            header: Vec::new(),
            fields: BTreeMap::new(),
        }
    }

    /// The message type indicator.
    #[must_use]
    pub fn mti(&self) -> Mti {
        self.mti
    }

    /// Changes the message type indicator.
    pub fn set_mti(&mut self, mti: Mti) -> &mut Self {
        self.mti = mti;
        self
    }

    /// The bytes in front of the message type indicator, if the dialect has any.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Changes these bytes. On encoding, they are cut or filled with zeros to the length of the dialect's header.
    pub fn set_header(&mut self, header: impl Into<Vec<u8>>) -> &mut Self {
        self.header = header.into();
        self
    }

    /// Data elements and their values, ascending.
    pub fn fields(&self) -> impl Iterator<Item = (u8, &Value)> {
        self.fields.iter().map(|(de, value)| (*de, value))
    }

    /// The value at a path: the number of an element, then keys of subfields, with dots between them (`55.9F02`).
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        let mut keys = path.split('.');
        let first = self.fields.get(&keys.next()?.parse().ok()?)?;
        keys.try_fold(first, |value, key| value.as_group()?.get(key))
    }

    /// Sets the value at a path. Groups on the way to it are made where they are missing, and take the place of values.
    ///
    /// # Errors
    /// [`WriteErrorKind::Undefined`] if the path does not start with the number of an element.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) -> Result<&mut Self, WriteError> {
        let undefined = || WriteError::new(WriteErrorKind::Undefined).within(path);
        let mut keys = path.split('.');
        let de = keys.next().and_then(element).ok_or_else(undefined)?;
        let mut slot = self
            .fields
            .entry(de)
            .or_insert_with(|| Value::Group(Group::new()));
        for key in keys {
            if !matches!(slot, Value::Group(_)) {
                *slot = Value::Group(Group::new());
            }
            let Value::Group(group) = slot else {
                return Err(undefined());
            };
            slot = group.entry(key).ok_or_else(undefined)?;
        }
        *slot = value.into();
        Ok(self)
    }

    /// Removes what is at a path, and returns it.
    pub fn remove(&mut self, path: &str) -> Option<Value> {
        let Some((outer, last)) = path.rsplit_once('.') else {
            return self.fields.remove(&element(path)?);
        };
        let mut keys = outer.split('.');
        let mut slot = self.fields.get_mut(&element(keys.next()?)?)?;
        for key in keys {
            let Value::Group(group) = slot else {
                return None;
            };
            slot = group
                .0
                .iter_mut()
                .find_map(|(other, value)| (other == key).then_some(value))?;
        }
        match slot {
            Value::Group(group) => group.remove(last),
            _ => None,
        }
    }

    /// Reads a message with all subfields.
    ///
    /// # Errors
    /// [`ReadError`] with the path of the field at fault and its offset.
    pub fn decode(spec: &Spec, frame: &[u8]) -> Result<Self, ReadError> {
        let dialect = spec.dialect();
        let mut reader = Reader {
            dialect,
            frame,
            at: 0,
        };
        if frame.len() > FRAME_BYTES_MAX {
            let kind = DecodeErrorKind::TooLong {
                max: FRAME_BYTES_MAX,
            };
            return Err(ReadError::new(kind, FRAME_BYTES_MAX));
        }
        let (header, mti, numbers) = reader.head()?;
        let mut record = Self {
            mti,
            header,
            fields: BTreeMap::new(),
        };
        for subfield in reader.elements(numbers)? {
            let (key, binary, content) = subfield.into_parts();
            if let Some(de) = element(&key) {
                record.fields.insert(de, Value::of(binary, content));
            }
        }
        Ok(record)
    }

    /// A copy of a message that is at hand, with all subfields.
    ///
    /// # Errors
    /// [`ReadError`] at the first field whose subfields cannot be read.
    pub fn from_message(message: &Message<'_>) -> Result<Self, ReadError> {
        Self::decode(message.spec(), message.frame())
    }

    /// Appends the message to `out`. On an error `out` is as it was.
    ///
    /// # Errors
    /// [`WriteError`] at the first field that the dialect cannot write.
    pub fn encode(&self, spec: &Spec, out: &mut BytesMut) -> Result<(), WriteError> {
        let dialect = spec.dialect();
        let mut frame = Vec::with_capacity(512);
        frame.extend_from_slice(&self.header);
        frame.resize(usize::from(dialect.header), 0);
        head::write_mti(dialect, self.mti, &mut frame);
        let third = self.write_bitmaps(dialect, &mut frame)?;
        let in_order = self.fields.iter().map(|(de, value)| (*de, Some(value)));
        let carrier = dialect
            .bitmap
            .third_in
            .filter(|_| third.is_some())
            .map(|de| (de, None));
        let mut elements: Vec<(u8, Option<&Value>)> = in_order.chain(carrier).collect();
        elements.sort_by_key(|(de, _)| *de);
        for (de, value) in elements {
            match (value, &third) {
                (Some(value), _) => {
                    let row = dialect.fields.get(&de);
                    row.ok_or_else(|| WriteError::new(WriteErrorKind::Undefined))
                        .and_then(|row| write::field(row, value, 0, &mut frame))
                        .map_err(|error| error.within(&de.to_string()))?;
                }
                (None, Some(map)) => head::write_map(&dialect.bitmap, map, &mut frame),
                (None, None) => {}
            }
        }
        if frame.len() > FRAME_BYTES_MAX {
            return Err(WriteError::new(WriteErrorKind::TooLong {
                length: frame.len(),
                max: FRAME_BYTES_MAX,
            }));
        }
        out.extend_from_slice(&frame);
        Ok(())
    }

    /// Appends the bitmaps, and returns the third one if an element carries it.
    fn write_bitmaps(
        &self,
        dialect: &Dialect,
        frame: &mut Vec<u8>,
    ) -> Result<Option<Vec<u8>>, WriteError> {
        let undefined =
            |de: u16| WriteError::new(WriteErrorKind::Undefined).within(&de.to_string());
        let numbers: Vec<u16> = self.fields.keys().map(|de| u16::from(*de)).collect();
        let Some(carrier) = dialect.bitmap.third_in else {
            return match head::write_bitmap(&dialect.bitmap, &numbers, frame) {
                Some(()) => Ok(None),
                None => Err(undefined(unwritable(&dialect.bitmap, &numbers))),
            };
        };
        let (mut near, far): (Vec<u16>, Vec<u16>) =
            numbers.iter().partition(|de| **de <= 2 * MAP_BITS);
        if near.contains(&u16::from(carrier)) {
            return Err(undefined(u16::from(carrier)));
        }
        let third = (!far.is_empty()).then(|| {
            near.push(u16::from(carrier));
            let mut map = vec![0; usize::from(dialect.bitmap.bytes)];
            for de in far {
                head::set_bit(&mut map, 2 * MAP_BITS + 1, de);
            }
            map
        });
        head::write_bitmap(&dialect.bitmap, &near, frame)
            .ok_or_else(|| undefined(unwritable(&dialect.bitmap, &near)))?;
        Ok(third)
    }
}

/// The first of these elements that the bitmap has no bit for.
fn unwritable(bitmap: &Bitmap, numbers: &[u16]) -> u16 {
    let cannot = |number: &u16| head::write_bitmap(bitmap, &[*number], &mut Vec::new()).is_none();
    numbers.iter().copied().find(cannot).unwrap_or_default()
}

/// The number of an element.
fn element(key: &str) -> Option<u8> {
    key.parse().ok().filter(|de| (1..=ELEMENT_MAX).contains(de))
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("mti", &self.mti)
            .field("header", &self.header.len())
            .field("fields", &self.fields)
            .finish()
    }
}

/// Reads a message from the front to the end.
struct Reader<'s, 'b> {
    dialect: &'s Dialect,
    frame: &'b [u8],
    at: usize,
}

impl<'s> Reader<'s, '_> {
    fn rest(&self) -> &[u8] {
        self.frame.get(self.at..).unwrap_or_default()
    }

    fn error(&self, fault: Fault) -> ReadError {
        ReadError::new(fault.kind, self.at.saturating_add(fault.at))
    }

    /// Header, message type indicator, and the elements that the bitmaps announce.
    fn head(&mut self) -> Result<(Vec<u8>, Mti, Vec<u16>), ReadError> {
        let header = usize::from(self.dialect.header);
        let bytes = self.frame.get(..header).ok_or_else(|| {
            let kind = DecodeErrorKind::TooShort { needed: header };
            ReadError::new(kind, self.frame.len())
        })?;
        self.at = header;
        let (mti, length) =
            head::read_mti(self.dialect, self.rest()).map_err(|fault| self.error(fault))?;
        self.at = self.at.saturating_add(length);
        let bits = head::read_bitmap(&self.dialect.bitmap, self.rest())
            .map_err(|fault| self.error(fault))?;
        self.at = self.at.saturating_add(bits.bytes);
        Ok((bytes.to_vec(), mti, bits.numbers))
    }

    /// All elements, among them those of a third bitmap that an element carries.
    fn elements(&mut self, numbers: Vec<u16>) -> Result<Vec<Subfield<'s>>, ReadError> {
        let (mut read, mut further) = (Vec::new(), Vec::new());
        for number in numbers {
            if self.dialect.bitmap.third_in.map(u16::from) == Some(number) {
                let before = self.at;
                let map = head::read_map(&self.dialect.bitmap, self.rest())
                    .map_err(|fault| self.error(fault).within(&number.to_string()))?;
                let mut written = Vec::new();
                head::write_map(&self.dialect.bitmap, &map, &mut written);
                self.at = before.saturating_add(written.len());
                further.extend(head::numbers(&map, 2 * MAP_BITS + 1));
            } else {
                read.push(self.element(number)?);
            }
        }
        for number in further {
            read.push(self.element(number)?);
        }
        match self.rest().len() {
            0 => Ok(read),
            count => Err(self.error(Fault::new(DecodeErrorKind::TrailingBytes { count }, 0))),
        }
    }

    fn element(&mut self, number: u16) -> Result<Subfield<'s>, ReadError> {
        let key = number.to_string();
        let row = u8::try_from(number)
            .ok()
            .and_then(|de| self.dialect.fields.get(&de));
        let row = row.ok_or_else(|| {
            self.error(Fault::new(DecodeErrorKind::Undefined, 0))
                .within(&key)
        })?;
        let (subfield, length) = read::field(row, &key, self.rest(), self.at)?;
        self.at = self.at.saturating_add(length);
        Ok(subfield)
    }
}
