//! Questions to a running node: over a Unix socket in its data folder that only the owner may open.
//!
//! One JSON line asks, JSON lines answer, the end of the stream ends the answer. A line `{"error":..}` says why there is none.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use refund_ledger::Name;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::{Engine, Stage, operator};
use crate::ledger_view;

/// A question is a line of at most so many bytes.
const QUESTION_BYTES_MAX: u64 = 64 * 1024;

/// Lines of an answer that may wait for whoever reads them.
const LINES_WAITING_MAX: usize = 1024;

/// Somebody who asks must do so within this time.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);

/// What can be asked.
#[derive(Clone, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Transactions with this RRN of a merchant, with their movements.
    ByRrn {
        /// DE 37.
        rrn: String,
        /// DE 42.
        merchant: String,
    },
    /// The transaction of this key, with its movements.
    ByKey {
        /// 32 hexadecimal digits.
        key: String,
    },
    /// Everything, in the order of the keys.
    Export,
    /// About advices.
    Saf(SafQuestion),
}

/// What can be asked about advices, and done with dead letters (by a running node alone).
#[derive(Clone, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum SafQuestion {
    /// Advices that wait and dead letters.
    List {
        /// Dead letters alone.
        dead: bool,
    },
    /// One of them, with its message.
    Show {
        /// As [`SafQuestion::List`] shows it: the transaction's key, a slash, the ordinal.
        key: String,
    },
    /// Back into the queue.
    Replay {
        /// Which.
        key: String,
    },
    /// All dead letters of a link back into the queue, oldest first.
    ReplayAll {
        /// The name of the link.
        link: String,
    },
    /// Settled by hand.
    Discard {
        /// Which.
        key: String,
    },
}

/// The socket of the node on this data folder.
#[must_use]
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("refundry.sock")
}

/// Asks the node that runs on this data folder; `None` where none listens. `line` gets each line of the answer.
///
/// # Errors
/// Where the connection breaks, or `line` fails.
pub fn ask_node(
    data_dir: &Path,
    question: &Question,
    line: &mut dyn FnMut(&str) -> io::Result<()>,
) -> io::Result<Option<()>> {
    let mut stream = match BlockingStream::connect(socket_path(data_dir)) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut text = serde_json::to_string(question)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    for answer in BufReader::new(stream).lines() {
        line(&answer?)?;
    }
    Ok(Some(()))
}

/// Opens the socket, owner only; a stale one of a node that is gone is replaced. Only whoever holds the ledger's lock may call it.
pub(crate) fn open(data_dir: &Path) -> io::Result<UnixListener> {
    let path = socket_path(data_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until the node closes.
pub(crate) async fn run(engine: Arc<Engine>, socket: UnixListener, realms: Vec<Name>) {
    let mut stage = engine.stage();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = Engine::reached(&mut stage, Stage::Closing) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (engine, realms) = (engine.clone(), realms.clone());
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, engine, realms).await {
                        tracing::debug!(%error, "a question was not answered to its end");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a question");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, engine: Arc<Engine>, realms: Vec<Name>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut question = String::new();
    let mut reader =
        tokio::io::BufReader::new(tokio::io::AsyncReadExt::take(reader, QUESTION_BYTES_MAX));
    tokio::time::timeout(QUESTION_TIMEOUT, reader.read_line(&mut question)).await??;
    let (lines, mut answers) = mpsc::channel::<String>(LINES_WAITING_MAX);
    // Reading the ledger waits for disks: not on the threads that serve terminals.
    let reading = tokio::task::spawn_blocking(move || {
        let mut emit = |line: String| {
            lines
                .blocking_send(line)
                .map_err(|_| io::ErrorKind::BrokenPipe.into())
        };
        let result = match serde_json::from_str::<Question>(&question) {
            Ok(Question::Saf(question)) => operator::answer(&engine, &question, &mut emit),
            Ok(question) => ledger_view::answer(&*engine.store, &realms, &question, &mut emit),
            Err(error) => Err(format!("not a question of this version: {error}")),
        };
        if let Err(message) = result {
            let _ = lines.blocking_send(serde_json::json!({ "error": message }).to_string());
        }
    });
    while let Some(mut line) = answers.recv().await {
        line.push('\n');
        writer.write_all(line.as_bytes()).await?;
    }
    drop(answers);
    reading.await.map_err(io::Error::other)
}
