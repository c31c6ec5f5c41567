//! Messages in hexadecimal digits as people paste them, from lines of text.
//!
//! A line is a message of its own, however its digits are grouped (`0200 72`, `02:00:72`, `0x02, 0x00`, `\x02\x00`). Rows with
//! an offset in front, as of `xxd`, `hexdump -C`, `od -t x1`, `tcpdump -X` and Wireshark, belong together, and what stands
//! behind the bytes is no part of them.

use std::fmt;

/// Most bytes of one message.
const BYTES_MAX: usize = 1024 * 1024;

/// Text that is not what it should be. It holds no character of the text, which may be card data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TextError {
    /// Line, from 1.
    pub(super) line: usize,
    /// Character of the line, from 1.
    pub(super) column: usize,
    what: &'static str,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.what
        )
    }
}

/// The bytes of a message, or why they could not be read.
pub(super) type Pasted = Result<Vec<u8>, TextError>;

/// Column from 0, and what is wrong there.
type Fault = (usize, &'static str);

/// What has been read of a message whose end is not known yet.
#[derive(Default)]
enum Pending {
    #[default]
    Nothing,
    /// Rows with offsets.
    Rows {
        bytes: Vec<u8>,
        /// How many of them the last row added.
        last_row: usize,
        /// Whether a `*` stands for rows like the last one.
        repeated: bool,
    },
    /// Lines that say that they go on.
    Lines(Vec<u8>),
    /// A message that is bad, up to its end.
    Bad,
}

/// Takes lines and gives messages.
#[derive(Default)]
pub(super) struct TextReader {
    /// Whether the whole text is one message.
    one: bool,
    line: usize,
    pending: Pending,
    in_comment: bool,
    /// Braces that are open, as in an array of C.
    open: usize,
}

impl TextReader {
    /// A reader of many messages, or of one that takes the whole text.
    pub(super) fn new(one: bool) -> Self {
        Self {
            one,
            ..Self::default()
        }
    }

    /// Takes the next line, and gives the messages that are complete by it: none, one or two.
    pub(super) fn line(&mut self, text: &str) -> Vec<Pasted> {
        self.line += 1;
        let text = text.trim_end();
        let content = text.trim_start();
        let mut done = Vec::new();
        if content.is_empty() || content.starts_with('#') {
            if !self.one {
                done.extend(self.finish());
            }
            return done;
        }
        if content == "*"
            && let Pending::Rows { repeated, .. } = &mut self.pending
        {
            *repeated = true;
            return done;
        }
        if let Some(row) = self.row(text) {
            done.extend(self.take_row(text, row));
            return done;
        }
        if matches!(self.pending, Pending::Rows { .. }) {
            done.extend(self.finish());
        }
        done.extend(self.take_line(text));
        done
    }

    /// The end of the text: gives the message that it completes.
    pub(super) fn finish(&mut self) -> Option<Pasted> {
        (self.in_comment, self.open) = (false, 0);
        match std::mem::take(&mut self.pending) {
            Pending::Nothing | Pending::Bad => None,
            Pending::Rows { bytes, .. } | Pending::Lines(bytes) => Some(Ok(bytes)),
        }
    }

    fn error(&self, (column, what): Fault) -> TextError {
        TextError {
            line: self.line,
            column: column + 1,
            what,
        }
    }

    /// Offset in front of a row, and the byte of the text where the rest of the row starts.
    fn row(&self, text: &str) -> Option<(Offset, usize)> {
        let expected = match &self.pending {
            Pending::Rows { bytes, .. } => Some(bytes.len()),
            _ => None,
        };
        let (offset, end) = Offset::parse(text)?;
        let rest = text.get(end..)?;
        if let Some(behind) = rest.strip_prefix(':') {
            let is_row = behind.is_empty() || behind.starts_with([' ', '\t']);
            return (is_row && offset.digits.len() >= 4).then_some((offset, end + 1));
        }
        let gap = rest.len() - rest.trim_start().len();
        let wide = gap >= 2 || rest.starts_with('\t') || (gap == 1 && offset.digits.len() >= 6);
        let fits = match expected {
            Some(expected) => offset.is(expected) || offset.is(0) || offset.is_near(expected),
            None => offset.is(0) && !rest.is_empty(),
        };
        ((wide || rest.is_empty()) && fits).then_some((offset, end))
    }

    /// Adds a row, which may be the first of the next message.
    fn take_row(&mut self, text: &str, (offset, start): (Offset, usize)) -> Option<Pasted> {
        let rest = text.get(start..).unwrap_or_default();
        let is_first = !matches!(self.pending, Pending::Rows { .. }) || (offset.is(0) && !self.one);
        let done = if is_first { self.finish() } else { None };
        let columns = text.get(..start).unwrap_or_default().chars().count();
        if is_first && offset.digits.len() == 7 && has_words(rest) {
            self.pending = Pending::Bad;
            let what =
                "words in the order of the machine; expected bytes, as of `hexdump -C` or `xxd`";
            return Some(Err(self.error((columns, what))));
        }
        let added = row_bytes(rest).map_err(|(column, what)| (columns + column, what));
        let result = added.and_then(|added| {
            let pending = std::mem::take(&mut self.pending);
            self.pending = add_row(pending, &offset, added)?;
            Ok(())
        });
        match result {
            Ok(()) => done,
            Err(fault) => {
                self.pending = Pending::Bad;
                Some(Err(self.error(fault)))
            }
        }
    }

    /// Adds a line without an offset.
    fn take_line(&mut self, text: &str) -> Option<Pasted> {
        let mut bytes = match std::mem::take(&mut self.pending) {
            Pending::Lines(bytes) => bytes,
            _ => Vec::new(),
        };
        let (open, in_comment) = (self.open, self.in_comment);
        let mut digits = Digits {
            bytes: &mut bytes,
            open,
            in_comment,
        };
        if let Err(fault) = digits.read(text) {
            (self.open, self.in_comment) = (0, false);
            return Some(Err(self.error(fault)));
        }
        (self.open, self.in_comment) = (digits.open, digits.in_comment);
        let goes_on = self.one || self.open > 0 || self.in_comment || text.ends_with([',', '\\']);
        if goes_on && bytes.len() <= BYTES_MAX {
            self.pending = Pending::Lines(bytes);
            return None;
        }
        (!bytes.is_empty()).then_some(Ok(bytes))
    }
}

/// A row's bytes behind those before it.
fn add_row(pending: Pending, offset: &Offset, added: Vec<u8>) -> Result<Pending, Fault> {
    let Pending::Rows {
        mut bytes,
        last_row,
        repeated,
    } = pending
    else {
        return Ok(Pending::Rows {
            last_row: added.len(),
            bytes: added,
            repeated: false,
        });
    };
    const MISFIT: Fault = (0, "the offset does not fit the rows before it");
    if repeated && last_row > 0 {
        let row = bytes.split_off(bytes.len() - last_row);
        let start = bytes.len();
        bytes.extend(&row);
        let end = offset.number().min(BYTES_MAX);
        while bytes.len() < end.max(start) {
            bytes.extend(&row);
        }
    }
    if !offset.is(bytes.len()) {
        // What stands behind the bytes of a row can look like more of them.
        let row = bytes.len() - last_row;
        if !(row + 1..bytes.len()).contains(&offset.hex()) {
            return Err(MISFIT);
        }
        bytes.truncate(offset.hex());
    }
    if bytes.len() + added.len() > BYTES_MAX {
        return Err((0, "a message is longer than 1048576 bytes"));
    }
    let last_row = added.len();
    bytes.extend(added);
    Ok(Pending::Rows {
        bytes,
        last_row,
        repeated: false,
    })
}

/// A number in front of a row, of which only its digits are certain.
struct Offset {
    digits: String,
}

impl Offset {
    /// The offset at the front of a line, and where it ends.
    fn parse(text: &str) -> Option<(Self, usize)> {
        let content = text.trim_start();
        let content = content.strip_prefix("0x").unwrap_or(content);
        let length = content.bytes().take_while(u8::is_ascii_hexdigit).count();
        let start = text.len() - content.len();
        let digits = content.get(..length)?.to_owned();
        (3..=16)
            .contains(&length)
            .then_some((Self { digits }, start + length))
    }

    /// What it most likely says: seven digits are octal (`od`), others hexadecimal.
    fn number(&self) -> usize {
        match self.digits.len() {
            7 => usize::from_str_radix(&self.digits, 8).unwrap_or(usize::MAX),
            _ => self.hex(),
        }
    }

    fn hex(&self) -> usize {
        usize::from_str_radix(&self.digits, 16).unwrap_or(usize::MAX)
    }

    /// Whether it is this number, in hexadecimal, octal (`od`) or decimal digits.
    fn is(&self, number: usize) -> bool {
        [16, 8, 10]
            .into_iter()
            .any(|radix| usize::from_str_radix(&self.digits, radix) == Ok(number))
    }

    /// Whether it may be the offset of the row behind so many bytes, some of which may be none, or of one further on.
    fn is_near(&self, bytes: usize) -> bool {
        self.digits.len() >= 4 && self.hex().abs_diff(bytes) <= BYTES_MAX
    }
}

/// Whether these are groups of four digits with single blanks between them.
fn has_words(rest: &str) -> bool {
    let mut words = rest.trim().split(' ');
    words.all(|word| word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The bytes of a row behind its offset, without the column of characters.
fn row_bytes(rest: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let mut at = 0;
    loop {
        let behind = rest.get(at..).unwrap_or_default();
        let token_start = at + behind.len() - behind.trim_start().len();
        let gap = token_start - at;
        let token = rest.get(token_start..).unwrap_or_default();
        if token.is_empty() {
            return Ok(bytes);
        }
        let wide = gap >= 2 || behind.starts_with('\t');
        let framed = token.starts_with(['|', '>']);
        if !bytes.is_empty() && (framed || (wide && shows(behind, &bytes))) {
            return Ok(bytes);
        }
        let end = token.find([' ', '\t']).unwrap_or(token.len());
        let digits = token.get(..end).unwrap_or_default();
        let bad = digits
            .char_indices()
            .find(|(_, character)| !character.is_ascii_hexdigit());
        match bad {
            // Characters of another set than ASCII, or of a column that was cut.
            Some(_) if wide && !bytes.is_empty() => return Ok(bytes),
            Some((position, _)) => {
                let front = rest.get(..token_start + position).unwrap_or_default();
                return Err((front.chars().count(), "expected a hexadecimal digit"));
            }
            None if digits.len() % 2 == 1 && wide && !bytes.is_empty() => return Ok(bytes),
            None if digits.len() % 2 == 1 => {
                return Err((
                    rest.get(..token_start + end)
                        .unwrap_or_default()
                        .chars()
                        .count(),
                    "expected one more hexadecimal digit",
                ));
            }
            None => bytes.extend(pairs(digits)),
        }
        at = token_start + end;
    }
}

/// Whether this shows the bytes as characters, a dot for what cannot be printed.
fn shows(column: &str, bytes: &[u8]) -> bool {
    let characters: String = bytes
        .iter()
        .map(|byte| match byte {
            0x20..=0x7E => char::from(*byte),
            _ => '.',
        })
        .collect();
    let characters = characters.trim_end();
    let front = column.trim_end().strip_suffix(characters);
    !characters.is_empty() && front.is_some_and(|front| front.trim().is_empty())
}

fn pairs(digits: &str) -> impl Iterator<Item = u8> {
    let nibbles: Vec<u8> = digits.chars().filter_map(nibble).collect();
    let (pairs, _) = nibbles.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    bytes.into_iter()
}

fn nibble(character: char) -> Option<u8> {
    character
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// Digits in any grouping.
struct Digits<'b> {
    bytes: &'b mut Vec<u8>,
    open: usize,
    in_comment: bool,
}

impl Digits<'_> {
    /// Adds the bytes of a line.
    fn read(&mut self, text: &str) -> Result<(), Fault> {
        let characters: Vec<char> = text.chars().collect();
        let mut at = declaration(&characters);
        let mut high = None;
        while let Some(&character) = characters.get(at) {
            let next = characters.get(at + 1).copied();
            if self.in_comment || (character, next) == ('/', Some('*')) {
                let ends = (character, next) == ('*', Some('/'));
                self.in_comment = !ends;
                at += if ends { 2 } else { 1 };
                continue;
            }
            match (character, next) {
                ('0' | '\\', Some('x' | 'X')) if high.is_none() => {
                    at = self.prefixed(&characters, at + 2)?;
                    continue;
                }
                ('{', _) => self.open += 1,
                ('}', _) => self.open = self.open.saturating_sub(1),
                _ if is_between(character) => {}
                _ => {
                    let digit = nibble(character).ok_or((at, "expected a hexadecimal digit"))?;
                    match high.take() {
                        Some(high) => self.bytes.push(high << 4 | digit),
                        None => high = Some(digit),
                    }
                }
            }
            at += 1;
        }
        match high {
            Some(_) => Err((characters.len(), "expected one more hexadecimal digit")),
            None => Ok(()),
        }
    }

    /// Adds the digits behind `0x`, of which a single one is a byte too. Returns where they end.
    fn prefixed(&mut self, characters: &[char], start: usize) -> Result<usize, Fault> {
        let digits: Vec<u8> = characters
            .iter()
            .skip(start)
            .map_while(|character| nibble(*character))
            .collect();
        let end = start + digits.len();
        match digits.as_slice() {
            [] => return Err((start, "expected a hexadecimal digit")),
            [single] => self.bytes.push(*single),
            _ if digits.len() % 2 == 1 => {
                return Err((end, "expected one more hexadecimal digit"));
            }
            _ => {
                let (pairs, _) = digits.as_chunks::<2>();
                self.bytes
                    .extend(pairs.iter().map(|[high, low]| high << 4 | low));
            }
        }
        Ok(end)
    }
}

/// Whether this may stand between digits.
fn is_between(character: char) -> bool {
    character.is_whitespace() || ",;:-._\"'\\()[]".contains(character)
}

/// Where an array of C starts behind its declaration (`static const unsigned char packet[] = {`); 0 where there is none.
fn declaration(characters: &[char]) -> usize {
    let brace = characters.iter().position(|character| *character == '{');
    brace
        .filter(|brace| {
            characters
                .iter()
                .take(*brace)
                .any(|character| *character == '=')
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
