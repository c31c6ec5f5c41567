//! Entries of a run that come in any order, kept as they will be written until all are there.

use super::NewRun;
use super::layout::{encode_entry, entry};
use crate::store::embedded::cold::ColdError;

/// Entries are kept in pieces of memory of so many bytes: one large piece would be copied whenever it grows.
const PIECE_BYTES: usize = 1 << 20;

/// Entries that are read at a time before the first of them is written, and how much of each.
const TOUCHED: usize = 16;
const LINES: usize = 4;
const CACHE_LINE: usize = 64;

/// What an entry takes seldom more than.
const ROOM: usize = 4096;

/// Entries in the order in which they came, one of each key.
#[derive(Default)]
pub(crate) struct Gathered {
    pieces: Vec<Vec<u8>>,
    places: Vec<Place>,
}

/// Where an entry begins.
struct Place {
    key: u128,
    piece: u32,
    at: u32,
}

impl Gathered {
    /// Has room for so many.
    pub(crate) fn with_room(entries: usize) -> Gathered {
        Gathered {
            pieces: Vec::new(),
            places: Vec::with_capacity(entries),
        }
    }

    /// The next entry; see [`Entry`](super::Entry). `record` appends the record; none: there is none of this key any more.
    pub(crate) fn put(
        &mut self,
        key: u128,
        rrn: Option<u32>,
        date: u32,
        record: Option<impl FnOnce(&mut Vec<u8>)>,
    ) {
        let is_full = |piece: &Vec<u8>| piece.len().saturating_add(ROOM) > PIECE_BYTES;
        if self.pieces.last().is_none_or(is_full) {
            self.pieces.push(Vec::with_capacity(PIECE_BYTES));
        }
        let number = self.pieces.len().saturating_sub(1);
        let Some(piece) = self.pieces.last_mut() else {
            return;
        };
        self.places.push(Place {
            key,
            piece: u32::try_from(number).unwrap_or(u32::MAX),
            at: u32::try_from(piece.len()).unwrap_or(u32::MAX),
        });
        encode_entry(piece, key, rrn, date, record);
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Gives all to a run, in the order of their keys.
    pub(crate) fn write(mut self, run: &mut NewRun) -> Result<(), ColdError> {
        self.places.sort_unstable_by_key(|place| place.key);
        run.expect(self.places.len());
        for places in self.places.chunks(TOUCHED) {
            // The processor waits for memory once for all of them, and not for each on its own.
            let first = |place| {
                self.bytes_from(place)
                    .iter()
                    .step_by(CACHE_LINE)
                    .take(LINES)
            };
            let touched = places
                .iter()
                .flat_map(first)
                .fold(0, |all, byte| all ^ byte);
            std::hint::black_box(touched);
            for place in places {
                let bytes = self.bytes_from(place);
                if let Some((entry, length)) = entry(bytes) {
                    run.put(&entry, bytes.get(..length).unwrap_or_default())?;
                }
            }
        }
        Ok(())
    }

    /// An entry and what follows it.
    fn bytes_from(&self, place: &Place) -> &[u8] {
        let piece = self.pieces.get(place.piece as usize);
        let bytes = piece.and_then(|piece| piece.get(place.at as usize..));
        bytes.unwrap_or_default()
    }
}
