//! What lies between a program and its database, and fails: answers that get lost, a network that keeps everything to itself, and
//! one that is not there.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A way to a server, open at first. Ends with the process.
#[derive(Clone)]
pub struct Way {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    mode: Mutex<Mode>,
    changed: Condvar,
    /// Of so many answers one is lost; 0: none.
    lose_one_of: AtomicU32,
    lost: AtomicU32,
    /// Both ends of all connections.
    open: Mutex<Vec<TcpStream>>,
}

#[derive(Copy, Clone, PartialEq, Default)]
enum Mode {
    #[default]
    Open,
    Held,
    Cut,
}

impl Way {
    /// A way to this server.
    #[must_use]
    pub fn to(server: SocketAddr) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let way = Way {
            port,
            state: state.clone(),
        };
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                // Dropped, and thereby closed, where the way is cut or the server is gone.
                if state.mode() != Mode::Cut
                    && let Ok(far) = TcpStream::connect(server)
                {
                    state.join(near, far);
                }
            }
        });
        way
    }

    /// Where a program must connect instead.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on of so many answers one is lost, and its connection with it; 0: none.
    pub fn lose_one_of(&self, answers: u32) {
        self.state.lose_one_of.store(answers, Ordering::Relaxed);
    }

    /// How many answers were lost.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// From now on nothing arrives, in either direction; connections stay, and new ones begin and hear nothing.
    pub fn hold(&self) {
        self.state.become_mode(Mode::Held);
    }

    /// Ends all connections and takes no new ones.
    pub fn cut(&self) {
        self.state.become_mode(Mode::Cut);
        for stream in self.state.open().drain(..) {
            // Either end may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Everything arrives again, also what was held.
    pub fn open(&self) {
        self.state.become_mode(Mode::Open);
    }
}

impl State {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn become_mode(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
        self.changed.notify_all();
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<State>, near: TcpStream, far: TcpStream) {
        let clones = |stream: &TcpStream| {
            // Small answers at once.
            let _ = stream.set_nodelay(true);
            stream.try_clone().unwrap()
        };
        self.open().extend([clones(&near), clones(&far)]);
        for (from, to, answers) in [
            (clones(&near), clones(&far), false),
            (clones(&far), clones(&near), true),
        ] {
            let state = self.clone();
            std::thread::spawn(move || state.carry(from, to, answers));
        }
    }

    /// Carries bytes until one side ends or an answer gets lost; then both end.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream, answers: bool) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let mode = self.mode.lock().unwrap_or_else(PoisonError::into_inner);
            // Held also where it is cut after that.
            let mode = self
                .changed
                .wait_while(mode, |mode| *mode == Mode::Held)
                .unwrap_or_else(PoisonError::into_inner);
            let cut = *mode == Mode::Cut;
            drop(mode);
            if cut || (answers && self.loses_one()) || to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        // Either may be gone already.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    fn loses_one(&self) -> bool {
        let one_of = self.lose_one_of.load(Ordering::Relaxed);
        let lost = one_of > 0 && fastrand::u32(..one_of) == 0;
        self.lost.fetch_add(u32::from(lost), Ordering::Relaxed);
        lost
    }
}
