//! What the benches of the rules share: the policy, and purchases that went through them.

use refund_ledger::decide::{self, Context, Policy};
use refund_ledger::{Answer, Transaction, Working};

#[path = "../crates/refund-ledger/tests/rules/make.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
pub(crate) mod make;

pub(crate) const POLICY: Policy = Policy {
    window: 180 * 24 * 3600 * 1000,
    same_card: true,
    unreferenced: false,
};

/// Unix milliseconds.
pub(crate) const NOW: u64 = 1_700_000_000_000;

/// A purchase as it stands once it is opened and the issuer has given this answer.
pub(crate) fn approved(new: Transaction, answer: Answer) -> Transaction {
    let (key, amount) = (new.key, new.request.amount);
    let mut working = Working::new();
    working.apply(&decide::open(new, NOW)).expect("it fits");
    let opened = working.get(key).expect("it is at hand").clone();
    let event = decide::approve(&opened, Context::default(), amount, answer, NOW);
    working.apply(&event).expect("it fits");
    Transaction::clone(working.get(key).expect("it is at hand"))
}
