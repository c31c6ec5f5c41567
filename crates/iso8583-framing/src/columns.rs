//! What a framing is made of, column by column.

use std::fmt;

use crate::{LengthKind, Tpdu};

/// Bytes that are the same in every frame, 8 at most.
#[derive(Copy, Clone, PartialEq, Eq, Default)]
pub struct FixedBytes {
    bytes: [u8; FixedBytes::BYTES_MAX],
    /// At most [`FixedBytes::BYTES_MAX`].
    len: u8,
}

impl FixedBytes {
    /// The most bytes that one place may hold.
    pub const BYTES_MAX: usize = 8;

    /// No bytes.
    pub const NONE: FixedBytes = FixedBytes {
        bytes: [0; FixedBytes::BYTES_MAX],
        len: 0,
    };

    /// These bytes; `None` where there are more than [`FixedBytes::BYTES_MAX`].
    #[must_use]
    pub const fn new(bytes: &[u8]) -> Option<FixedBytes> {
        if bytes.len() > FixedBytes::BYTES_MAX {
            return None;
        }
        let mut fixed = FixedBytes::NONE;
        let (front, _) = fixed.bytes.split_at_mut(bytes.len());
        front.copy_from_slice(bytes);
        // At most BYTES_MAX.
        fixed.len = bytes.len() as u8;
        Some(fixed)
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Display for FixedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.as_slice().iter();
        bytes.try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for FixedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FixedBytes({self})")
    }
}

/// What stands behind the length, beside the message.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Form {
    /// `plain`: the message as it is.
    Plain,
    /// `parts`: two bytes follow the length, 00 00 before the last part of a message and 01 00 before the others. The parts of a
    /// message are put together; what is written is one part.
    Parts,
    /// `session-flag`: two bytes follow the length, 00 and two nibbles. A frame whose first nibble is 2 is session control
    /// (a heartbeat) and is taken for a keep-alive; what is written has 00 00.
    SessionFlag,
    /// `gzip`: the message is compressed, a gzip member of its own; the length counts the message before compression.
    #[cfg(feature = "gzip")]
    Gzip,
}

impl Form {
    /// Every form.
    pub const ALL: &'static [Form] = &[
        Form::Plain,
        Form::Parts,
        Form::SessionFlag,
        #[cfg(feature = "gzip")]
        Form::Gzip,
    ];

    /// The name, as a configuration writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Form::Plain => "plain",
            Form::Parts => "parts",
            Form::SessionFlag => "session-flag",
            #[cfg(feature = "gzip")]
            Form::Gzip => "gzip",
        }
    }

    /// The form of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Form> {
        Form::ALL.iter().copied().find(|form| form.name() == name)
    }

    /// Bytes between the length (with the fixed bytes behind it) and the rest.
    pub(crate) const fn flag_bytes(self) -> usize {
        match self {
            Form::Parts | Form::SessionFlag => 2,
            _ => 0,
        }
    }
}

/// The columns of a framing: take those of a preset ([`crate::Framing::columns`]), change what differs, and
/// [`crate::Framing::compose`] them.
///
/// ```text
/// +--------+--------+-------+------+------+---------+---------+
/// | before | length | after | flag | TPDU | message | trailer |
/// +--------+--------+-------+------+------+---------+---------+
/// ```
///
/// The length counts the TPDU and the message, and what the columns beginning with `counts_` say.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Columns {
    /// Bytes before the length.
    pub before: FixedBytes,
    /// How the length is written.
    pub length: LengthKind,
    /// Bytes of the length, 1 to [`LengthKind::width_max`].
    pub width: u8,
    /// Whether the length counts itself.
    pub counts_itself: bool,
    /// Whether the length counts the trailer.
    pub counts_trailer: bool,
    /// What the length says beyond all that; negative where it says less. -64 to 64.
    pub counts_more: i8,
    /// Bytes behind the length.
    pub after: FixedBytes,
    /// Whether the bytes before and behind the length and the trailer must be as they are written here; otherwise they are skipped.
    pub check_fixed: bool,
    /// The TPDU of what is no answer, where each message has one.
    pub tpdu: Option<Tpdu>,
    /// Whether an answer carries the TPDU of its request with both addresses exchanged, or as it came.
    pub tpdu_swap: bool,
    /// Bytes behind the message.
    pub trailer: FixedBytes,
    /// What stands behind the length beside the message.
    pub form: Form,
    /// Whether a length of 0 is a keep-alive, or an error. (A frame with a right length and an empty message always is a
    /// keep-alive.)
    pub zero_is_keep_alive: bool,
    /// Bytes of the longest message, where it is less than the length can say.
    pub longest: Option<u32>,
}

impl Columns {
    /// What the length says beside the TPDU and the message.
    pub(crate) const fn overhead(&self) -> isize {
        let itself = if self.counts_itself { self.width } else { 0 };
        let trailer = if self.counts_trailer {
            self.trailer.len()
        } else {
            0
        };
        // Three numbers below a hundred.
        (self.counts_more as isize)
            .saturating_add_unsigned(itself as usize)
            .saturating_add_unsigned(trailer)
    }

    /// Bytes of the TPDU.
    pub(crate) const fn tpdu_bytes(&self) -> usize {
        match self.tpdu {
            Some(_) => Tpdu::BYTES,
            None => 0,
        }
    }

    /// Bytes of the longest message that length and columns allow.
    pub(crate) const fn message_bytes_max(&self) -> usize {
        let value = self.length.value_max(self.width);
        let expressible = value
            .saturating_add_signed(self.overhead().saturating_neg())
            .saturating_sub(self.tpdu_bytes());
        match self.longest {
            Some(longest) if (longest as usize) < expressible => longest as usize,
            _ => expressible,
        }
    }

    /// Whether they go together.
    pub(crate) const fn check(&self) -> Result<(), CompositionError> {
        if self.width == 0 || self.width > self.length.width_max() {
            return Err(CompositionError::Width {
                length: self.length,
                width: self.width,
            });
        }
        if self.counts_more < -COUNTS_MORE_MAX || self.counts_more > COUNTS_MORE_MAX {
            return Err(CompositionError::CountsMore);
        }
        if self.overhead().saturating_add_unsigned(self.tpdu_bytes()) < 0 {
            return Err(CompositionError::CountsLess);
        }
        if self.form.flag_bytes() > 0 && !self.after.is_empty() {
            return Err(CompositionError::AfterWithFlag { form: self.form });
        }
        let bare = self.tpdu.is_none() && self.trailer.is_empty() && self.overhead() == 0;
        let plain = matches!(self.form, Form::Plain | Form::SessionFlag);
        if !plain && !bare {
            return Err(CompositionError::NotBare { form: self.form });
        }
        if self.message_bytes_max() == 0 {
            return Err(CompositionError::NoRoom);
        }
        Ok(())
    }
}

/// The farthest that [`Columns::counts_more`] may be from 0.
const COUNTS_MORE_MAX: i8 = 64;

/// Why columns make no framing.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CompositionError {
    /// The length is too narrow or too wide for its kind.
    Width {
        /// The kind.
        length: LengthKind,
        /// The bytes.
        width: u8,
    },
    /// `counts_more` is too far from 0.
    CountsMore,
    /// The length counts less than the message.
    CountsLess,
    /// Two bytes with a meaning follow the length, where fixed bytes are to stand.
    AfterWithFlag {
        /// The form that has them.
        form: Form,
    },
    /// A form whose length counts the message alone, with TPDU, trailer, or a length that counts more.
    NotBare {
        /// The form.
        form: Form,
    },
    /// The length cannot express any message.
    NoRoom,
}

impl fmt::Display for CompositionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompositionError::Width { length, width } => write!(
                f,
                "a length of {width} bytes; expected 1 to {} for the kind \"{}\"",
                length.width_max(),
                length.name()
            ),
            CompositionError::CountsMore => write!(
                f,
                "expected counts_more from -{COUNTS_MORE_MAX} to {COUNTS_MORE_MAX}"
            ),
            CompositionError::CountsLess => f.write_str(
                "the length counts less than the message; expected a counts_more that is not below what else is counted",
            ),
            CompositionError::AfterWithFlag { form } => write!(
                f,
                "the form \"{}\" has two bytes of its own behind the length; expected no `after`",
                form.name()
            ),
            CompositionError::NotBare { form } => write!(
                f,
                "with the form \"{}\" the length counts the message and nothing else; expected no TPDU, no trailer, \
                 counts_itself = false and counts_more = 0",
                form.name()
            ),
            CompositionError::NoRoom => f.write_str("the length cannot express any message"),
        }
    }
}

impl std::error::Error for CompositionError {}
