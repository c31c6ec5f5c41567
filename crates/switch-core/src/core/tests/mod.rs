//! Stories: a core over a store in memory, terminals, a scripted issuer, and time that passes when a test says so.
//!
//! Every story runs in several worlds (see [`WORLDS`]): with a store that answers from memory and one that must be asked for
//! every record, and with terminals and issuers that speak the same dialect or different ones. At its end the books of every
//! original are audited, and nothing may be left over in the core.

mod advices;
mod chaos;
mod concurrency;
mod faults;
mod links;
mod message;
mod naming;
mod nodes;
mod purchases;
mod rare;
mod repeats;
mod restart;
mod reversals;
mod scenarios;
mod timeouts;
mod together;
mod tombstones;
mod trouble;
mod voids;
mod world;

use self::message::Msg;
use self::world::{World, long_story, story, story_with};
