//! The bytes that one connection brings, read after read, as messages.

use std::borrow::Cow;

use iso8583_framing::{Deframer, FrameError, Framing, Step, Tpdu};

/// Most bytes of one read.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Messages that are delivered together at most: whoever deals with them may ask for the memory that all of them need, and what that
/// is fits the nearest cache.
pub(crate) const TOGETHER: usize = 8;

/// What came.
pub(crate) enum Incoming<'a> {
    /// Messages, in the order in which they came.
    Messages(&'a [Arrived<'a>]),
    /// The head of a message over the limit; the rest is skipped.
    Oversize {
        head: &'a [u8],
        bytes: usize,
        tpdu: Option<Tpdu>,
    },
}

/// A message, and the TPDU that it came with.
#[derive(Default)]
pub(crate) struct Arrived<'a> {
    pub(crate) body: Cow<'a, [u8]>,
    pub(crate) tpdu: Option<Tpdu>,
}

/// Whole messages that are not delivered yet.
#[derive(Default)]
struct Gathered<'a> {
    messages: [Arrived<'a>; TOGETHER],
    count: usize,
}

impl<'a> Gathered<'a> {
    fn push(&mut self, message: Arrived<'a>, deliver: &mut impl FnMut(Incoming<'_>)) {
        self.messages[self.count] = message;
        self.count += 1;
        if self.count == TOGETHER {
            self.deliver(deliver);
        }
    }

    fn deliver(&mut self, deliver: &mut impl FnMut(Incoming<'_>)) {
        if self.count > 0 {
            deliver(Incoming::Messages(&self.messages[..self.count]));
            self.count = 0;
        }
    }
}

/// Where bytes are read to: one for all connections, since what one read brings is dealt with before the next.
#[derive(Debug)]
pub(crate) struct Input {
    bytes: Vec<u8>,
}

impl Default for Input {
    fn default() -> Input {
        Input {
            bytes: vec![0; READ_BYTES],
        }
    }
}

impl Input {
    /// Room for one read of the connection of `frames`. Before it is room for what that connection brought before.
    pub(crate) fn room(&mut self, frames: &Frames) -> &mut [u8] {
        let (front, end) = (frames.rest.len(), frames.rest.len() + READ_BYTES);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[front..end]
    }
}

/// Finds the messages in what one connection brings.
#[derive(Debug)]
pub(crate) struct Frames {
    deframer: Deframer,
    /// The beginning of a frame that is not whole yet. Without room of its own while there is none.
    rest: Vec<u8>,
    /// So many more bytes make it whole, at least.
    needed: usize,
}

/// What a read has brought.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    /// Whether a frame became whole.
    pub(crate) any_whole: bool,
    /// Whether a frame has begun that is not whole yet.
    pub(crate) inside: bool,
}

impl Frames {
    pub(crate) fn new(framing: Framing, max_frame: usize) -> Frames {
        Frames {
            deframer: Deframer::new(framing, max_frame),
            rest: Vec::new(),
            needed: 0,
        }
    }

    /// Delivers the messages that `read` bytes in [`Input::room`] make whole.
    pub(crate) fn take(
        &mut self,
        input: &mut Input,
        read: usize,
        deliver: &mut impl FnMut(Incoming<'_>),
    ) -> Result<Taken, FrameError> {
        let front = self.rest.len();
        let input = &mut input.bytes[..front + read];
        let (before, read) = input.split_at_mut(front);
        if front > 0 && read.len() < self.needed {
            self.rest.extend_from_slice(read);
            self.needed -= read.len();
            return Ok(Taken {
                any_whole: false,
                inside: true,
            });
        }
        before.copy_from_slice(&self.rest);
        let (at, any_whole) = self.whole(input, deliver)?;
        let rest = &input[at..];
        if rest.is_empty() {
            self.rest = Vec::new();
        } else {
            self.rest.clear();
            self.rest.extend_from_slice(rest);
        }
        let inside = !rest.is_empty() || self.deframer.is_inside_frame();
        Ok(Taken { any_whole, inside })
    }

    /// Delivers all whole messages of `input`; how many bytes that was, and whether there was a whole frame.
    fn whole(
        &mut self,
        input: &[u8],
        deliver: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(usize, bool), FrameError> {
        let mut gathered = Gathered::default();
        let taken = self.gather(input, &mut gathered, deliver);
        gathered.deliver(deliver);
        taken
    }

    fn gather<'a>(
        &mut self,
        input: &'a [u8],
        gathered: &mut Gathered<'a>,
        deliver: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(usize, bool), FrameError> {
        let framing = self.deframer.framing();
        let header = framing.header_len();
        let mut at = 0;
        let mut any = false;
        loop {
            match self.deframer.next(&input[at..])? {
                Step::Incomplete { needed } => {
                    self.needed = needed;
                    return Ok((at, any));
                }
                Step::Message { body, consumed } => {
                    let tpdu = framing.tpdu_of(&input[at..at + consumed]);
                    let body = Cow::Borrowed(body);
                    gathered.push(Arrived { body, tpdu }, deliver);
                    at += consumed;
                }
                Step::Rebuilt { body, consumed } => {
                    let (body, tpdu) = (Cow::Owned(body), None);
                    gathered.push(Arrived { body, tpdu }, deliver);
                    at += consumed;
                }
                Step::Oversize { len, consumed } => {
                    gathered.deliver(deliver);
                    let head = &input[at + header..at + consumed];
                    let (bytes, tpdu) = (len, framing.tpdu_of(&input[at..at + consumed]));
                    deliver(Incoming::Oversize { head, bytes, tpdu });
                    at += consumed;
                }
                Step::KeepAlive { consumed } => at += consumed,
                Step::Skipped { consumed } => {
                    // No whole frame: a peer that sends a byte of it now and then does not hold the connection.
                    at += consumed;
                    continue;
                }
            }
            any = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;

    const MAX_FRAME: usize = 300;

    fn whole(Arrived { body, tpdu }: &Arrived<'_>) -> Vec<u8> {
        let tpdu = tpdu.as_ref().map_or(&[][..], |tpdu| &tpdu.0);
        [tpdu, body].concat()
    }

    /// What is delivered, and what the last read left.
    fn taken(
        framing: Framing,
        reads: &[&[u8]],
    ) -> Result<(Vec<Vec<u8>>, Option<Taken>), FrameError> {
        let mut frames = Frames::new(framing, MAX_FRAME);
        let mut input = Input::default();
        let mut delivered = Vec::new();
        let mut last = None;
        for read in reads {
            input.room(&frames)[..read.len()].copy_from_slice(read);
            let taken = frames.take(&mut input, read.len(), &mut |incoming| match incoming {
                Incoming::Messages(messages) => delivered.extend(messages.iter().map(whole)),
                Incoming::Oversize { bytes, .. } => {
                    delivered.push(format!("{bytes} bytes").into_bytes());
                }
            })?;
            last = Some(taken);
        }
        Ok((delivered, last))
    }

    proptest! {
        /// However the bytes are cut into reads, the same messages come out, and nothing is kept behind the last.
        #[test]
        fn messages_come_out_whole(
            lengths in prop::collection::vec(1_usize..600, 1..20),
            cuts in prop::collection::vec(1_usize..700, 1..40),
            name in prop::sample::select(vec!["len2", "len4-ascii", "nac", "rbp", "base24tcp"]),
        ) {
            let framing = Framing::by_name(name).unwrap();
            let mut bytes = BytesMut::new();
            for (number, length) in lengths.iter().enumerate() {
                let mark = framing.begin(&mut bytes);
                bytes.extend_from_slice(&vec![b'0' + number as u8; *length]);
                framing.finish(&mut bytes, mark).unwrap();
            }
            let mut reads = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (read, behind) = rest.split_at((*cut).min(rest.len()));
                reads.push(read);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            let (at_once, _) = taken(framing, &[&bytes]).unwrap();
            prop_assert_eq!(at_once.len(), lengths.len());
            let (in_parts, last) = taken(framing, &reads).unwrap();
            prop_assert_eq!(at_once, in_parts);
            prop_assert!(!last.unwrap().inside);
        }
    }

    #[test]
    fn a_beginning_is_kept_and_nothing_else() {
        let mut frames = Frames::new(Framing::LEN2, MAX_FRAME);
        let mut input = Input::default();
        let mut take = |read: &[u8]| {
            input.room(&frames)[..read.len()].copy_from_slice(read);
            let taken = frames.take(&mut input, read.len(), &mut |_| {}).unwrap();
            (taken.any_whole, taken.inside, frames.rest.capacity() > 0)
        };
        assert_eq!(take(b"\x00\x040200\x00"), (true, true, true));
        assert_eq!(take(b"\x06"), (false, true, true));
        assert_eq!(take(b"0210"), (false, true, true));
        assert_eq!(take(b"00"), (true, false, false));
        // What is skipped is not kept, and is no whole frame until its end.
        assert_eq!(take(b"\x10\x00123"), (true, true, false));
        assert_eq!(take(b"456"), (false, true, false));
    }
}
