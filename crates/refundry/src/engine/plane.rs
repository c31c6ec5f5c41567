//! The data plane's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, net};

use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::issuer_link::{self, Line};
use super::listener::{self, Listener};
use super::{Engine, Stage};

/// How often the core is told that time has passed.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// More than this does not count as time between two ticks: the thread did not run.
pub(super) const TICK_LONGEST: Duration = Duration::from_millis(100);

/// In so many ticks, a second, the times of all connections are looked at once.
pub(super) const SWEEP_TICKS: usize = 100;

/// So many slots of connections are looked at in a tick where there are few.
pub(super) const SWEEP_SLOTS_MIN: usize = 32;

/// The thread, which ends when the node closes.
#[derive(Debug)]
pub(super) struct Plane {
    engine: Arc<Engine>,
    thread: Option<JoinHandle<()>>,
}

impl Plane {
    /// Begins to listen and to connect.
    pub(super) fn start(
        engine: Arc<Engine>,
        doors: Vec<Listener<net::TcpListener>>,
        lines: Vec<Line>,
    ) -> io::Result<Plane> {
        let (begun, beginning) = sync_channel(1);
        let running = engine.clone();
        let thread = thread::Builder::new().name("data-plane".to_owned());
        let thread = thread.spawn(move || {
            #[cfg(test)]
            super::allocations::count_this_thread();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(begun.send(Err(error))),
            };
            runtime.block_on(async {
                let mut stage = running.stage();
                let open = begin(&running, doors, lines);
                let went_well = open.is_ok();
                let _ = begun.send(open);
                if went_well {
                    Engine::reached(&mut stage, Stage::Closing).await;
                }
            });
            // Without waiting for names that are being looked up.
            runtime.shutdown_background();
        })?;
        let mut plane = Plane {
            engine,
            thread: Some(thread),
        };
        match beginning.recv() {
            Ok(Ok(())) => Ok(plane),
            Ok(Err(error)) => {
                plane.join();
                Err(error)
            }
            Err(_) => Err(io::Error::other("the data plane's thread ended")),
        }
    }

    /// Waits for the end of the thread, after [`Stage::Closing`].
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.engine.enter(Stage::Closing);
    }
}

fn begin(
    engine: &Arc<Engine>,
    doors: Vec<Listener<net::TcpListener>>,
    lines: Vec<Line>,
) -> io::Result<()> {
    let doors: io::Result<Vec<Listener<TcpListener>>> =
        doors.into_iter().map(Listener::into_async).collect();
    let doors = doors?;
    tokio::spawn(turns(engine.clone()));
    let passes = engine.clone();
    tokio::spawn(async move { passes.follow_passes().await });
    for line in lines {
        tokio::spawn(issuer_link::run(engine.clone(), line));
    }
    for door in doors {
        tokio::spawn(listener::run(engine.clone(), door));
    }
    Ok(())
}

/// Turn after turn, as they are called for.
async fn turns(engine: Arc<Engine>) {
    // Nanoseconds since the last turn that knew of the time.
    let passed = Arc::new(AtomicU64::new(0));
    tokio::spawn(tick(engine.clone(), passed.clone()));
    loop {
        engine.due.called().await;
        let passed = passed.swap(0, Ordering::Relaxed);
        engine.turn((passed > 0).then_some(Duration::from_nanos(passed)));
    }
}

/// Calls for a turn whenever time has passed.
async fn tick(engine: Arc<Engine>, passed: Arc<AtomicU64>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        let now = ticks.tick().await;
        let nanoseconds = now.saturating_duration_since(last).as_nanos();
        last = now;
        passed.fetch_add(nanoseconds as u64, Ordering::Relaxed);
        engine.due.call();
    }
}
