//! The process of a node.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::{LOOK, PATIENCE, until};

/// A process of the real binary. Killed when it is dropped.
pub(crate) struct Node {
    child: Child,
    listeners: Vec<(String, SocketAddr)>,
    pub(crate) admin: SocketAddr,
    log: Arc<Mutex<String>>,
    /// Ends with the process.
    collector: Option<JoinHandle<()>>,
}

impl Node {
    /// Runs the command and waits until it says that it listens.
    pub(crate) fn start(command: &mut Command, log: &str) -> Node {
        let mut child = command
            .env("REFUNDRY_LOG", log)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let collected = log.clone();
        let collector = std::thread::spawn(move || {
            let mut bytes = [0; 16 * 1024];
            while let Ok(read @ 1..) = stderr.read(&mut bytes) {
                collected
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut listeners = Vec::new();
        let admin = loop {
            let Ok(line) = lines.recv_timeout(PATIENCE) else {
                let _ = child.kill();
                let status = child.wait();
                panic!(
                    "the node does not start ({status:?}):\n{}",
                    log.lock().unwrap()
                );
            };
            if let Some(address) = line.strip_prefix("admin http://") {
                break address.parse().unwrap();
            }
            let mut words = line
                .strip_prefix("listening ")
                .unwrap_or_else(|| panic!("{line:?}"))
                .split(' ');
            listeners.push((
                words.next().unwrap().to_owned(),
                words.next().unwrap().parse().unwrap(),
            ));
        };
        Node {
            child,
            listeners,
            admin,
            log,
            collector: Some(collector),
        }
    }

    /// The address of a listener, in the order of the configuration.
    pub(crate) fn listener(&self, number: usize) -> SocketAddr {
        self.listeners[number].1
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM.
    pub(crate) fn send_terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Stops it where it is: it does nothing until [`Node::unpause`].
    pub(crate) fn pause(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Goes on after [`Node::pause`].
    pub(crate) fn unpause(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// SIGTERM; the exit status.
    pub(crate) async fn terminate(&mut self) -> i32 {
        self.send_terminate();
        self.exited().await
    }

    /// Waits for its end; the exit status, -1 for a signal.
    pub(crate) async fn exited(&mut self) -> i32 {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // Its last words are in the log.
                if let Some(collector) = self.collector.take() {
                    collector.join().unwrap();
                }
                return status.code().unwrap_or(-1);
            }
            assert!(
                Instant::now() < end,
                "the node does not end:\n{}",
                self.log()
            );
            sleep(LOOK).await;
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// GET; the status and the body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nHost: node\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// The sum of a metric over all label sets that contain these labels; 0 where there is none.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200);
        let mut sum = 0.0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let (found, rest) = series.split_once('{').unwrap_or((series, ""));
            let has =
                |(label, value): &(&str, &str)| rest.contains(&format!("{label}=\"{value}\""));
            if found == name && labels.iter().all(has) {
                sum += value.parse::<f64>().unwrap();
            }
        }
        sum
    }

    /// Waits until a metric is at least this.
    pub(crate) async fn metric_reaches(&self, name: &str, labels: &[(&str, &str)], least: f64) {
        until(&format!("{name} {labels:?} reaches {least}"), async || {
            self.metric(name, labels).await >= least
        })
        .await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("the node's last words:");
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}
