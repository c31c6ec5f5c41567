//! What is about to be dealt with, asked for before its turn.
//!
//! A transaction lies still for a thousand others between two of its steps, and what belongs to it has left the caches by then: the
//! request, the flight and their bytes, the records, which the store's threads have touched last. Where many things come at
//! once, the way to each is gone in stages, a few things ahead of the one that is dealt with: each stage reads what the one before has
//! asked for, and asks for what that leads to. Nothing is changed, so that it makes no difference to what follows.

use iso8583_codec::Message;
use refund_ledger::store::{Completion, Item};
use refund_ledger::{Key, fetch};

use super::Core;
use super::commit::Committing;
use super::find::named_key;
use super::flight::Flight;
use super::terminal::Asking;
use super::work::{After, Work};

/// How many completions ahead each stage is. What is asked for between the first and the last stays in the nearest cache.
const LISTS_AHEAD: usize = 9;
const BLOCKS_AHEAD: usize = 6;
const CONTENTS_AHEAD: usize = 3;

/// How many answers are asked for at a time, and how many requests.
pub(super) const ANSWERS_AHEAD: usize = 8;
pub(super) const REQUESTS_AHEAD: usize = 8;

/// Names of up to `N` records.
struct Keys<const N: usize> {
    keys: [Key; N],
    count: usize,
}

impl<const N: usize> Default for Keys<N> {
    fn default() -> Keys<N> {
        Keys {
            keys: [Key::from_value(0); N],
            count: 0,
        }
    }
}

impl<const N: usize> Keys<N> {
    fn push(&mut self, key: Key) {
        if let Some(place) = self.keys.get_mut(self.count) {
            *place = key;
            self.count += 1;
        }
    }

    fn as_slice(&self) -> &[Key] {
        &self.keys[..self.count]
    }
}

impl Core {
    /// Asks for what the completions after the next one need.
    pub(super) fn ask_ahead(&self, coming: &[Completion]) {
        if let Some(Completion::Committed { item }) = coming.get(LISTS_AHEAD) {
            fetch(item.event.changes.as_slice());
            self.committing.ahead(item.id);
        }
        if let Some(Completion::Committed { item }) = coming.get(BLOCKS_AHEAD) {
            self.ask_for_blocks(item);
        }
        if let Some(Completion::Committed { item }) = coming.get(CONTENTS_AHEAD)
            && let Some(committing) = self.committing.get(item.id)
        {
            self.ask_for_contents(committing);
        }
    }

    fn ask_for_blocks(&self, item: &Item) {
        // The count of who has it, and its key.
        item.next
            .transactions()
            .for_each(|record| fetch(&record.key));
        let Some(committing) = self.committing.get(item.id) else {
            return;
        };
        fetch(&*committing.task);
        if let Some(flight) = self.flight_of(&committing.after) {
            fetch(flight);
        }
        committing.keys.iter().for_each(|key| self.busy.ahead(key));
    }

    fn ask_for_contents(&self, committing: &Committing) {
        if let Work::Ask(asking) = &committing.task.work {
            // Most of it was of use to the decision alone.
            fetch(&asking.asker);
            fetch(&asking.asked.pan);
        }
        if let After::Finish { key } = &committing.after
            && let Some(flight) = self.flights.get(key)
            && let Some(record) = &flight.record
        {
            // The last to have this version: it goes with the flight, and with it what it holds.
            fetch(&record.key);
            fetch(&record.card);
            fetch(&record.answer);
        }
    }

    /// Asks for what requests that came together need, at most [`REQUESTS_AHEAD`]: the records of their own names and of those that they
    /// give, and what says whether somebody writes them.
    pub(super) fn ask_ahead_of_requests<'a>(
        &self,
        requests: impl Iterator<Item = &'a Box<Asking>>,
    ) {
        let mut keys = Keys::<{ 2 * REQUESTS_AHEAD }>::default();
        for request in requests {
            let asked = &request.asked;
            [Some(asked.key), named_key(asked)]
                .into_iter()
                .flatten()
                .for_each(|key| keys.push(key));
        }
        keys.as_slice().iter().for_each(|key| self.busy.ahead(*key));
        self.store.ahead(keys.as_slice());
    }

    /// Asks for what the answers among these frames of an issuer need, at most [`ANSWERS_AHEAD`]: the flights, then what hangs on
    /// them.
    pub(super) fn ask_ahead_of_answers(&self, link: usize, frames: &[&[u8]]) {
        if frames.len() < 2 {
            return;
        }
        let known = &self.links[link];
        let mut answer = Message::unread(self.config.links[link].spec);
        let mut flights = [None; ANSWERS_AHEAD];
        for (flight, frame) in flights.iter_mut().zip(frames) {
            if answer.read_to(frame, 11)
                && let Ok(Some(stan)) = answer.stan()
                && let Some(key) = known.request_of(stan.value())
            {
                *flight = self.flights.get(&key).map(|flight| &**flight);
            }
            if let Some(flight) = flight {
                fetch(*flight);
            }
        }
        let flights = || flights.into_iter().flatten();
        flights().for_each(Flight::ahead);
        let mut originals = Keys::<ANSWERS_AHEAD>::default();
        flights()
            .filter_map(Flight::original)
            .for_each(|original| originals.push(original));
        self.store.ahead(originals.as_slice());
    }

    /// The flight that is begun or ended by what follows a commit.
    fn flight_of<'a>(&'a self, after: &'a After) -> Option<&'a Flight> {
        match after {
            After::Relay(flight, _) => Some(flight),
            After::Finish { key } => self.flights.get(key).map(|flight| &**flight),
            _ => None,
        }
    }
}
