//! Where terminals and gateways connect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{io, net};

use metrics::{Counter, Gauge, counter, gauge};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior};

use super::connection::{End, Rules};
use super::frames::{Arrived, Incoming, TOGETHER};
use super::outbox::Outbox;
use super::return_path::ReturnPath;
use super::{Engine, Stage};
use crate::config::Address;
use crate::metrics::{CONNECTIONS, MALFORMED};

/// Connections that the system sets up for us before we accept them; it may take fewer (`somaxconn`). What comes on top of them is
/// asked to come again after a second, so thousands that come back together after a cut must find room here.
const BACKLOG: i32 = 4096;

/// What waits unread in the system for one connection at most, in bytes; the system takes twice that, its own part included, and at most
/// what it allows (`rmem_max`). By itself it lets a connection have megabytes (`tcp_rmem`): under overload, seconds of requests that
/// grow old where neither side sees them.
const UNREAD_BYTES: usize = 256 << 10;

/// Wait before accepting again when the system refuses (out of descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often it is seen that nobody waits to be accepted; what is there before that came since the last time.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// One open listener, whose socket belongs to a runtime or not yet.
pub(crate) struct Listener<S> {
    pub(crate) socket: S,
    pub(crate) name: String,
    /// As counted in the configuration.
    pub(crate) index: usize,
    pub(crate) rules: Rules,
    pub(crate) connections_max: usize,
}

impl Listener<net::TcpListener> {
    /// The same, with a socket of the runtime that calls it.
    pub(crate) fn into_async(self) -> io::Result<Listener<TcpListener>> {
        Ok(Listener {
            socket: TcpListener::from_std(self.socket)?,
            name: self.name,
            index: self.index,
            rules: self.rules,
            connections_max: self.connections_max,
        })
    }
}

/// Listens on an address.
pub(crate) async fn bind(address: &Address) -> io::Result<TcpListener> {
    let socket = TcpListener::bind((address.host.as_str(), address.port)).await?;
    // Whatever is accepted has it from its beginning.
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, UNREAD_BYTES)?;
    // Once more, for a longer queue than the library asks for.
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Connections of one listener, counted.
struct Open {
    name: String,
    count: AtomicUsize,
    gauge: Gauge,
}

impl Open {
    fn change(&self, difference: isize) -> usize {
        let before = self
            .count
            .fetch_add(difference.cast_unsigned(), Ordering::Relaxed);
        let count = before.wrapping_add(difference.cast_unsigned());
        self.gauge.set(count as f64);
        count
    }
}

/// Accepts connections until the node drains.
pub(crate) async fn run(engine: Arc<Engine>, listener: Listener<TcpListener>) {
    let open = Arc::new(Open {
        name: listener.name.clone(),
        count: AtomicUsize::new(0),
        gauge: gauge!(CONNECTIONS, "listener" => listener.name.clone()),
    });
    let refused = malformed(&listener.name, "too_many_connections");
    let mut stage = engine.stage();
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut none_waited = engine.clock.microseconds();
    let mut looked = Instant::now();
    loop {
        let accepted = tokio::select! {
            biased;
            () = Engine::reached(&mut stage, Stage::Draining) => return,
            accepted = listener.socket.accept() => accepted,
            // Nobody waits; but just after a standstill the system need not have said yet who does.
            _ = looks.tick() => {
                if looked.elapsed() < 2 * LOOK_INTERVAL {
                    none_waited = engine.clock.microseconds();
                }
                looked = Instant::now();
                continue;
            }
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // That one is gone already; the next may be fine.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                tracing::warn!(listener = %listener.name, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if open.change(1) > listener.connections_max {
            tracing::warn!(listener = %listener.name, max = listener.connections_max, "too many connections");
            refused.increment(1);
            open.change(-1);
            continue;
        }
        let (engine, open) = (engine.clone(), open.clone());
        let (index, rules) = (listener.index, listener.rules);
        tokio::spawn(async move {
            // What it sent before is as old as that may be.
            let unread = rustix::io::ioctl_fionread(&stream).is_ok_and(|bytes| bytes > 0);
            let since = unread.then_some(none_waited);
            if let Err(error) = serve(&engine, stream, since, index, &open.name, rules).await {
                tracing::debug!(%error, "a connection could not be set up");
            }
            open.change(-1);
        });
    }
}

async fn serve(
    engine: &Arc<Engine>,
    stream: TcpStream,
    unread_since: Option<u64>,
    index: usize,
    name: &str,
    rules: Rules,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let connection = engine.register(stream, rules, Outbox::new(rules.framing), unread_since);
    tracing::debug!(listener = %name, connection, "connected");
    let carried = engine.carry(connection, |core, outbox, incoming, now| match incoming {
        Incoming::Messages(messages) => {
            let mut frames = [(0, &[][..]); TOGETHER];
            for (frame, Arrived { body, tpdu }) in frames.iter_mut().zip(messages) {
                let path = ReturnPath::new(connection, outbox.number(*tpdu));
                *frame = (path.0, body);
            }
            core.terminal_frames(index, &frames[..messages.len()], now);
        }
        Incoming::Oversize { head, bytes, tpdu } => {
            let path = ReturnPath::new(connection, outbox.number(tpdu));
            tracing::warn!(listener = %name, connection, bytes, "a message over max_frame");
            malformed(name, "oversize").increment(1);
            core.terminal_oversize(path.0, index, head, now);
        }
    });
    let end = carried.await;
    engine.unregister(connection);
    match end {
        End::Closed => tracing::debug!(listener = %name, connection, "closed"),
        End::Idle => tracing::info!(listener = %name, connection, "closed after a long silence"),
        End::Slow => {
            tracing::warn!(listener = %name, connection, "closed: a message or an answer got stuck half-way");
            malformed(name, "slow").increment(1);
        }
        End::Frame(error) => {
            tracing::warn!(listener = %name, connection, %error, "closed: the frame boundary is lost");
            malformed(name, "frame").increment(1);
        }
        End::Io(error) => tracing::debug!(listener = %name, connection, %error, "broken"),
    }
    Ok(())
}

fn malformed(listener: &str, kind: &'static str) -> Counter {
    counter!(MALFORMED, "listener" => listener.to_owned(), "kind" => kind)
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::socket_recv_buffer_size;

    use super::*;

    #[tokio::test]
    async fn what_waits_unread_is_bounded() {
        let (host, port) = ("127.0.0.1".to_owned(), 0);
        let listener = bind(&Address { host, port }).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_terminal, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let allowed = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
        let allowed = allowed.trim().parse().unwrap();
        let (accepted, _) = accepted.unwrap();
        let bytes = socket_recv_buffer_size(&accepted).unwrap();
        assert_eq!(bytes, 2 * UNREAD_BYTES.min(allowed));
    }
}
