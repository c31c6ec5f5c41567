//! Connections to issuers: the switch connects out, and again when one breaks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use iso8583_codec::Spec;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::Engine;
use super::connection::{End, Rules};
use super::frames::{Incoming, TOGETHER};
use super::outbox::Outbox;
use crate::config::Address;

/// A connection that is not there by then is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One connection of one link.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The link, as counted in the configuration.
    pub(crate) link: usize,
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) dialect: &'static Spec,
    pub(crate) rules: Rules,
    pub(crate) reconnect_min: Duration,
    pub(crate) reconnect_max: Duration,
}

/// Keeps the connection up for the life of the node.
pub(crate) async fn run(engine: Arc<Engine>, line: Line) {
    let mut wait = line.reconnect_min;
    loop {
        let began = Instant::now();
        let was_up = carry(&engine, &line).await;
        // An issuer that takes the connection, or the sign-on, and closes at once is not back yet.
        if was_up && began.elapsed() > wait {
            wait = line.reconnect_min;
        }
        let (least, most) = pause(wait, &line);
        let spread = u64::try_from((most - least).as_micros()).unwrap_or(u64::MAX);
        sleep(least + Duration::from_micros(random_below(spread))).await;
        wait = (wait * 2).min(line.reconnect_max);
    }
}

/// Between which times the next attempt waits: a quarter apart, so that the links of many nodes do not come back in step, and within what
/// is configured.
fn pause(wait: Duration, line: &Line) -> (Duration, Duration) {
    let least = (wait - wait / 4).max(line.reconnect_min);
    let most = (least + wait / 4).min(line.reconnect_max);
    (least, most.max(least))
}

/// One life of the connection; whether it carried traffic.
async fn carry(engine: &Arc<Engine>, line: &Line) -> bool {
    let stream = match connect(&line.address).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(issuer = %line.name, address = %line.address, %error, "cannot connect");
            return false;
        }
    };
    let outbox = Outbox::for_link(line.rules.framing, line.dialect);
    let connection = engine.register(stream, line.rules, outbox, None);
    tracing::info!(issuer = %line.name, address = %line.address, connection, "connected");
    engine.with(|core, now| core.link_connected(line.link, connection, now));
    let guard = Closed {
        engine,
        connection,
        link: line.link,
    };
    let carried = engine.carry(connection, |core, outbox, incoming, now| match incoming {
        Incoming::Messages(messages) => {
            let mut frames = [&[][..]; TOGETHER];
            for (frame, arrived) in frames.iter_mut().zip(messages) {
                outbox.heard(&arrived.body, arrived.tpdu);
                *frame = &arrived.body;
            }
            let frames = &frames[..messages.len()];
            core.link_frames(line.link, connection, frames, now);
        }
        Incoming::Oversize { head, .. } => {
            core.link_frame(line.link, connection, head, now);
        }
    });
    let end = carried.await;
    let was_up = engine.with(|core, _| core.link_carries(line.link, connection));
    drop(guard);
    match end {
        End::Io(error) => tracing::warn!(issuer = %line.name, connection, %error, "broken"),
        End::Frame(error) => {
            tracing::warn!(issuer = %line.name, connection, %error, "the frame boundary is lost")
        }
        End::Slow => {
            tracing::warn!(issuer = %line.name, connection, "a message got stuck half-way")
        }
        End::Closed | End::Idle => tracing::info!(issuer = %line.name, connection, "closed"),
    }
    was_up
}

/// Tells the core when the connection is gone, however its task ends.
struct Closed<'a> {
    engine: &'a Arc<Engine>,
    connection: u64,
    link: usize,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.engine.unregister(self.connection);
        self.engine
            .with(|core, now| core.link_closed(self.link, self.connection, now));
    }
}

async fn connect(address: &Address) -> io::Result<TcpStream> {
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    let stream = timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn random_below(bound: u64) -> u64 {
    random_bits() % bound.max(1)
}

/// Bits from the system. Without them there is no jitter, which is bearable.
pub(super) fn random_bits() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
