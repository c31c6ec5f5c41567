//! What waits to be written to one connection: gathered, so that all that is ready leaves in one write.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use iso8583_framing::Framing;
use tokio::sync::Notify;

/// Bytes that may wait for a peer that does not read; then the connection is closed.
const OUTBOX_BYTES_MAX: usize = 8 << 20;

/// Framed messages on their way to a socket.
#[derive(Debug)]
pub(crate) struct Outbox {
    framing: Framing,
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: BytesMut,
    /// Taken by the writer and not yet written.
    writing: bool,
    closed: bool,
}

impl Outbox {
    pub(crate) fn new(framing: Framing) -> Outbox {
        Outbox {
            framing,
            queue: Mutex::default(),
            wake: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message; whether the writer must be woken.
    pub(crate) fn push(&self, message: &[u8]) -> bool {
        let mut queue = self.lock();
        if queue.closed {
            return false;
        }
        if queue.bytes.len() + message.len() > OUTBOX_BYTES_MAX {
            tracing::warn!("a peer does not read its answers: the connection is closed");
            queue.closed = true;
            queue.bytes.clear();
            return true;
        }
        let first = queue.bytes.is_empty();
        let mark = self.framing.begin(&mut queue.bytes);
        queue.bytes.extend_from_slice(message);
        if let Err(error) = self.framing.finish(&mut queue.bytes, mark) {
            tracing::error!(%error, "a message does not fit its frame");
        }
        first
    }

    /// Asks for the connection to be closed; whether the writer must be woken.
    pub(crate) fn close(&self) -> bool {
        let mut queue = self.lock();
        !std::mem::replace(&mut queue.closed, true)
    }

    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits for something to write, or to close.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Takes everything into `out` (which is empty); whether the connection is to close after it.
    pub(crate) fn take(&self, out: &mut BytesMut) -> bool {
        let mut queue = self.lock();
        std::mem::swap(&mut queue.bytes, out);
        queue.writing = !out.is_empty();
        queue.closed
    }

    /// What was taken is written.
    pub(crate) fn written(&self) {
        self.lock().writing = false;
    }

    pub(crate) fn is_empty(&self) -> bool {
        let queue = self.lock();
        queue.bytes.is_empty() && !queue.writing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_may_wait_closes_the_connection() {
        let outbox = Outbox::new(Framing::LEN2);
        let message = [b'0'; 8000];
        let mut pushed = 0;
        while pushed + message.len() <= OUTBOX_BYTES_MAX {
            assert_eq!(outbox.push(&message), pushed == 0, "whom to wake");
            pushed = outbox.lock().bytes.len();
        }
        assert!(outbox.push(&message), "the writer is to close");
        let mut out = BytesMut::new();
        assert!(outbox.take(&mut out) && out.is_empty());
        // Nothing more is kept for it.
        assert!(!outbox.push(&message) && outbox.is_empty());
    }
}
