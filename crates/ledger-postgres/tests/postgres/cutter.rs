//! Something between store and database that lets connections break when an answer is on its way: what was asked is done, and
//! nobody hears of it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A way to a server on which one of so many answers is lost, with its connection.
pub(crate) struct Cutter {
    pub(crate) port: u16,
    one_of: Arc<AtomicU32>,
    cuts: Arc<AtomicU32>,
}

impl Cutter {
    pub(crate) fn start(server: SocketAddr, one_of: u32) -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cutter = Cutter {
            port,
            one_of: Arc::new(AtomicU32::new(one_of)),
            cuts: Arc::default(),
        };
        let (one_of, cuts) = (cutter.one_of.clone(), cutter.cuts.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(server).unwrap());
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                let (asks, answers) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || carry(asks, far, || false));
                let (one_of, cuts) = (one_of.clone(), cuts.clone());
                std::thread::spawn(move || {
                    carry(answers, near, || {
                        let one_of = one_of.load(Ordering::Relaxed);
                        let cut = one_of > 0 && fastrand::u32(..one_of) == 0;
                        cuts.fetch_add(u32::from(cut), Ordering::Relaxed);
                        cut
                    });
                });
            }
        });
        cutter
    }

    /// From now on every answer arrives. Gives how many did not.
    pub(crate) fn stop(&self) -> u32 {
        self.one_of.store(0, Ordering::Relaxed);
        self.cuts.load(Ordering::Relaxed)
    }
}

/// Carries bytes until one side ends or `cut` says so; then both end.
fn carry(mut from: TcpStream, mut to: TcpStream, cut: impl Fn() -> bool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if cut() || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Either may be gone already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
