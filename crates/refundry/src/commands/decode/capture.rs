//! Captures (pcap and pcapng): TCP streams put together again, each direction for itself.
//!
//! Files are read by `pcap-parser`, packets by `etherparse`, and `smoltcp`'s assembler knows which bytes of a stream are there,
//! in whatever order and however often they came.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use pcap_parser::pcapng::Block;
use pcap_parser::{Linktype, PcapBlockOwned, PcapError, create_reader};
use smoltcp::storage::Assembler;

/// Most bytes of a stream that are kept while earlier ones are missing.
const AHEAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that are read of a file at once: the longest packet.
const BLOCK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The heads of capture files: pcap in both byte orders with micro- and nanoseconds, and pcapng.
const MAGICS: [[u8; 4]; 5] = [
    [0xD4, 0xC3, 0xB2, 0xA1],
    [0xA1, 0xB2, 0xC3, 0xD4],
    [0x4D, 0x3C, 0xB2, 0xA1],
    [0xA1, 0xB2, 0x3C, 0x4D],
    [0x0A, 0x0D, 0x0D, 0x0A],
];

/// Whether a file that begins with these bytes is a capture.
pub(super) fn is_capture(front: &[u8]) -> bool {
    MAGICS.iter().any(|magic| front.starts_with(magic))
}

/// One direction of a TCP connection, and the packet that completed what is told of it.
#[derive(Copy, Clone)]
pub(super) struct Origin {
    /// Number of the direction, from 0.
    pub(super) stream: usize,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// Number of the packet in the file, from 1.
    pub(super) packet: u64,
    /// Microseconds since the first packet.
    pub(super) micros: u64,
}

/// What happens on a stream.
pub(super) enum Event<'b> {
    /// A connection begins: nothing of an earlier one belongs to it.
    Begin,
    /// The next bytes.
    Data(&'b [u8]),
    /// So many bytes are not in the capture.
    Lost(usize),
    /// The capture ends.
    End,
}

/// Reads a capture and tells what happens on its streams, packet after packet. Only connections from or to `port` count, if
/// there is one.
///
/// # Errors
/// What is wrong with the file, or what `tell` answers.
pub(super) fn read<E: From<String>>(
    file: &[u8],
    port: Option<u16>,
    tell: &mut impl FnMut(&Origin, Event<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let capacity = file.len().clamp(65_536, BLOCK_BYTES_MAX);
    let bad = |packet: u64, error: &PcapError<&[u8]>| {
        let what = match error {
            PcapError::UnexpectedEof | PcapError::Incomplete(_) => "the file ends within it",
            PcapError::BufferTooSmall => "it is longer than any",
            _ => "it cannot be read",
        };
        E::from(format!("capture, packet {}: {what}", packet + 1))
    };
    let mut reader = create_reader(capacity, file).map_err(|error| bad(0, &error))?;
    let mut streams = Streams {
        port,
        packets: 0,
        first_micros: None,
        halves: HashMap::new(),
    };
    let mut link = Links::default();
    loop {
        match reader.next() {
            Ok((consumed, block)) => {
                if let Some(packet) = link.packet(&block) {
                    streams.packet(&packet, tell)?;
                }
                reader.consume(consumed);
            }
            Err(PcapError::Eof) => break,
            Err(PcapError::Incomplete(_)) => {
                if reader.reader_exhausted() {
                    return Err(bad(streams.packets, &PcapError::UnexpectedEof));
                }
                let refilled = reader.refill();
                refilled.map_err(|error| bad(streams.packets, &error))?;
            }
            Err(error) => return Err(bad(streams.packets, &error)),
        }
    }
    streams.end(tell)
}

/// A packet of the file.
struct Packet<'b> {
    link: Linktype,
    micros: u64,
    bytes: &'b [u8],
}

/// What the file says of the links that its packets come from.
#[derive(Default)]
struct Links {
    /// Kind of link and ticks of a second, for each interface.
    interfaces: Vec<(Linktype, u64)>,
}

impl Links {
    /// Notes what a block says, and gives its packet if it is one.
    fn packet<'b>(&mut self, block: &'b PcapBlockOwned<'_>) -> Option<Packet<'b>> {
        let interface = |links: &Self, id: u32| {
            let id = usize::try_from(id).ok()?;
            links.interfaces.get(id).copied()
        };
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let nanoseconds = header.is_nanosecond_precision();
                let ticks = if nanoseconds {
                    1_000_000_000
                } else {
                    1_000_000
                };
                self.interfaces = vec![(header.network, ticks)];
                None
            }
            PcapBlockOwned::Legacy(packet) => {
                let (link, ticks) = interface(self, 0)?;
                let fraction = micros(u64::from(packet.ts_usec), ticks);
                Some(Packet {
                    link,
                    micros: u64::from(packet.ts_sec) * 1_000_000 + fraction,
                    bytes: packet.data,
                })
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                self.interfaces.clear();
                None
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(row)) => {
                let ticks = row.ts_resolution().unwrap_or(1_000_000);
                self.interfaces.push((row.linktype, ticks));
                None
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let (link, ticks) = interface(self, packet.if_id)?;
                let time = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let length = usize::try_from(packet.caplen).ok()?;
                Some(Packet {
                    link,
                    micros: micros(time, ticks),
                    bytes: packet.data.get(..length)?,
                })
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                let (link, _) = interface(self, 0)?;
                Some(Packet {
                    link,
                    micros: 0,
                    bytes: packet.data,
                })
            }
            PcapBlockOwned::NG(_) => None,
        }
    }
}

/// Microseconds of so many ticks.
fn micros(time: u64, ticks: u64) -> u64 {
    let micros = u128::from(time) * 1_000_000 / u128::from(ticks.max(1));
    u64::try_from(micros).unwrap_or(u64::MAX)
}

/// What of a packet belongs to a TCP stream.
struct Segment<'b> {
    from: SocketAddr,
    to: SocketAddr,
    begins: bool,
    /// Number of the first byte of the stream in it.
    number: u32,
    bytes: &'b [u8],
}

/// The segment of a packet, if it is one.
fn segment<'b>(packet: &Packet<'b>) -> Option<Segment<'b>> {
    let behind = |count: usize| packet.bytes.get(count..);
    let sliced = match packet.link.0 {
        // Ethernet.
        1 => LaxSlicedPacket::from_ethernet(packet.bytes).ok()?,
        // BSD loopback: an address family in front.
        0 | 108 => LaxSlicedPacket::from_ip(behind(4)?).ok()?,
        // IP alone.
        12 | 14 | 101 | 228 | 229 => LaxSlicedPacket::from_ip(packet.bytes).ok()?,
        // Linux "any" device, both versions.
        113 => LaxSlicedPacket::from_ip(behind(16)?).ok()?,
        276 => LaxSlicedPacket::from_ip(behind(20)?).ok()?,
        _ => return None,
    };
    let (from, to, fragmented): (IpAddr, IpAddr, bool) = match sliced.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
            ip.is_payload_fragmented(),
        ),
        LaxNetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
            ip.is_payload_fragmented(),
        ),
        LaxNetSlice::Arp(_) => return None,
    };
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport.as_ref().filter(|_| !fragmented) else {
        return None;
    };
    Some(Segment {
        from: SocketAddr::new(from, tcp.source_port()),
        to: SocketAddr::new(to, tcp.destination_port()),
        begins: tcp.syn(),
        // The mark of the beginning takes a number of its own.
        number: tcp.sequence_number().wrapping_add(u32::from(tcp.syn())),
        bytes: tcp.payload(),
    })
}

/// All streams of a capture.
struct Streams {
    port: Option<u16>,
    packets: u64,
    first_micros: Option<u64>,
    halves: HashMap<(SocketAddr, SocketAddr), Half>,
}

impl Streams {
    fn packet<E>(
        &mut self,
        packet: &Packet<'_>,
        tell: &mut impl FnMut(&Origin, Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.packets += 1;
        let first = *self.first_micros.get_or_insert(packet.micros);
        let Some(segment) = segment(packet) else {
            return Ok(());
        };
        let ports = [segment.from.port(), segment.to.port()];
        if self.port.is_some_and(|port| !ports.contains(&port)) {
            return Ok(());
        }
        let stream = self.halves.len();
        let half = self.halves.entry((segment.from, segment.to));
        let half = half.or_insert_with(|| Half::new(stream, segment.number));
        let origin = Origin {
            stream: half.stream,
            from: segment.from,
            to: segment.to,
            packet: self.packets,
            micros: packet.micros.saturating_sub(first),
        };
        half.last = Some(origin);
        if segment.begins && half.begins_anew(segment.number) {
            half.give_up_gaps(&origin, tell)?;
            half.next = segment.number;
            tell(&origin, Event::Begin)?;
        }
        half.take(segment.number, segment.bytes, &origin, tell)
    }

    /// Tells what lies behind gaps, and the end of every stream.
    fn end<E>(self, tell: &mut impl FnMut(&Origin, Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut halves: Vec<Half> = self.halves.into_values().collect();
        halves.sort_by_key(|half| half.stream);
        for mut half in halves {
            if let Some(origin) = half.last {
                half.give_up_gaps(&origin, tell)?;
                tell(&origin, Event::End)?;
            }
        }
        Ok(())
    }
}

/// One direction of a connection.
struct Half {
    stream: usize,
    /// Number of the next byte that is told.
    next: u32,
    /// Bytes from there on, with gaps.
    ahead: Vec<u8>,
    /// Which of them are there.
    there: Assembler,
    last: Option<Origin>,
}

impl Half {
    fn new(stream: usize, next: u32) -> Self {
        Self {
            stream,
            next,
            ahead: Vec::new(),
            there: Assembler::new(),
            last: None,
        }
    }

    /// Whether a beginning with this number is not the one that is known.
    fn begins_anew(&self, number: u32) -> bool {
        let distance = number.wrapping_sub(self.next).cast_signed();
        number != self.next && !(-(1 << 20)..=0).contains(&distance)
    }

    fn take<E>(
        &mut self,
        number: u32,
        bytes: &[u8],
        origin: &Origin,
        tell: &mut impl FnMut(&Origin, Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let distance = number.wrapping_sub(self.next).cast_signed();
        let (offset, bytes) = match usize::try_from(distance) {
            Ok(offset) => (offset, bytes),
            // What was told already comes again.
            Err(_) => {
                let again = usize::try_from(distance.unsigned_abs()).unwrap_or(usize::MAX);
                (0, bytes.get(again..).unwrap_or_default())
            }
        };
        if bytes.is_empty() {
            return Ok(());
        }
        if offset.saturating_add(bytes.len()) > AHEAD_BYTES_MAX
            || self.there.add(offset, bytes.len()).is_err()
        {
            // Too much is missing: what is there is told, and the stream goes on from here.
            self.give_up_gaps(origin, tell)?;
            let missing = number.wrapping_sub(self.next).cast_signed();
            if let Ok(missing @ 1..) = usize::try_from(missing) {
                tell(origin, Event::Lost(missing))?;
            }
            self.next = number.wrapping_add(u32::try_from(bytes.len()).unwrap_or_default());
            return tell(origin, Event::Data(bytes));
        }
        let end = offset + bytes.len();
        if self.ahead.len() < end {
            self.ahead.resize(end, 0);
        }
        if let Some(room) = self.ahead.get_mut(offset..end) {
            room.copy_from_slice(bytes);
        }
        self.tell_front(origin, tell)
    }

    /// Tells the bytes that nothing is missing before.
    fn tell_front<E>(
        &mut self,
        origin: &Origin,
        tell: &mut impl FnMut(&Origin, Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let count = self.there.remove_front();
        if count == 0 {
            return Ok(());
        }
        self.skip(count);
        let bytes: Vec<u8> = self.ahead.drain(..count.min(self.ahead.len())).collect();
        tell(origin, Event::Data(&bytes))
    }

    fn skip(&mut self, count: usize) {
        self.next = self
            .next
            .wrapping_add(u32::try_from(count).unwrap_or_default());
    }

    /// Tells everything that is there, and what is missing between.
    fn give_up_gaps<E>(
        &mut self,
        origin: &Origin,
        tell: &mut impl FnMut(&Origin, Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let ranges: Vec<(usize, usize)> = self.there.iter_data().collect();
        let ahead = std::mem::take(&mut self.ahead);
        self.there.clear();
        let mut told = 0;
        for (start, end) in ranges {
            tell(origin, Event::Lost(start - told))?;
            tell(
                origin,
                Event::Data(ahead.get(start..end).unwrap_or_default()),
            )?;
            told = end;
        }
        self.skip(told);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
