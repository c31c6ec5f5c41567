//! Every answer that the switch gives by itself: what is sent, what comes back, and whether the issuer saw it.
//!
//! Every row of the table of answers is a test here, in both dialects.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

#[path = "../node/mod.rs"]
mod node;
mod refunds;
mod requests;
mod reversals;

use node::{Setup, World, answered, until};
use simulators::{Message, Terminal};

/// A node per dialect.
async fn both(setup: impl Fn(Setup) -> Setup) -> [World; 2] {
    [
        setup(Setup::new()).start().await,
        setup(Setup::binary()).start().await,
    ]
}

fn plain(setup: Setup) -> Setup {
    setup
}

/// The issuer must not see what is refused.
async fn refused(world: &World, terminal: &Terminal, message: &Message, code: &str) {
    let before = world.relayed().len();
    answered(terminal, message, code).await;
    assert_eq!(world.relayed().len(), before, "the issuer saw {message:?}");
}

/// The issuer is gone, and the node knows.
async fn take_down(world: &World) {
    world.issuer.close_listener().await;
    world.issuer.disconnect_all();
    until("the link is down", async || {
        world.node.metric("refundry_issuer_up", &[]).await == 0.0
    })
    .await;
}
