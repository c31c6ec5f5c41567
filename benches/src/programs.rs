//! The programs of the end-to-end bench. Each is the bench's own executable, started once more in another role, so that each has a
//! process and a processor time of its own.

use std::error::Error;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use iso8583_framing::Framing;

use crate::relay;

/// The first argument of a process that has a role.
const ROLE: &str = "--role";

/// Connections that may wait to be accepted by the relay.
const BACKLOG: i32 = 4096;

/// How long a program may take until it works.
const START_LOOKS_MAX: u32 = 2_000;
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A running program; it ends with this.
pub struct Program {
    child: Child,
    address: SocketAddr,
    /// Kept open: a program that cannot print might end.
    _output: BufReader<ChildStdout>,
}

impl Program {
    /// The simulated issuer in its plain mode.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn issuer(dialect: &str) -> Result<Program, Box<dyn Error>> {
        let (child, mut lines) = spawn(&[
            "refundry",
            "simulate",
            "issuer",
            "--plain",
            "--listen",
            "127.0.0.1:0",
            "--dialect",
            dialect,
        ])?;
        let address = line_behind(&mut lines, "listening on ")?.parse()?;
        Ok(Program::new(child, address, lines))
    }

    /// The plain relay.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn relay(issuer: SocketAddr, links: usize) -> Result<Program, Box<dyn Error>> {
        let (child, mut lines) = spawn(&["relay", &issuer.to_string(), &links.to_string()])?;
        let address = line_behind(&mut lines, "listening on ")?.parse()?;
        Ok(Program::new(child, address, lines))
    }

    /// The switch on a new ledger in this folder.
    ///
    /// # Errors
    /// Where it does not start, or is not ready in time.
    pub fn switch(
        folder: &Path,
        issuer: SocketAddr,
        links: usize,
        dialect: &str,
    ) -> Result<Program, Box<dyn Error>> {
        Program::node(folder, issuer, links, dialect, "refundry-1", "")
    }

    /// A switch of this name, with further sections of its configuration.
    ///
    /// # Errors
    /// As [`Program::switch`].
    pub fn node(
        folder: &Path,
        issuer: SocketAddr,
        links: usize,
        dialect: &str,
        name: &str,
        sections: &str,
    ) -> Result<Program, Box<dyn Error>> {
        let text = format!(
            "[node]\nname = \"{name}\"\ndata_dir = \"data\"\n[[listen]]\nname = \"pos\"\naddress = \"127.0.0.1:0\"\ndialect = \"{dialect}\"\n\
             max_connections = 12000\n[[issuer]]\nname = \"bank\"\naddress = \"{issuer}\"\nbins = [\"4\"]\nconnections = {links}\ndialect = \"{dialect}\"\n\
             [admin]\naddress = \"127.0.0.1:0\"\n{sections}"
        );
        let file = folder.join("refundry.toml");
        std::fs::write(&file, text)?;
        let file = file
            .to_str()
            .ok_or("the folder has a name that is no text")?;
        let (child, mut lines) =
            spawn(&["refundry", "--log-level", "warn", "serve", "--config", file])?;
        let address = line_behind(&mut lines, "listening pos ")?;
        let address = address.split(' ').next().unwrap_or_default().parse()?;
        let admin: SocketAddr = line_behind(&mut lines, "admin http://")?.parse()?;
        let program = Program::new(child, address, lines);
        for _ in 0..START_LOOKS_MAX {
            if is_ready(admin)? {
                return Ok(program);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err("the switch is not ready in time".into())
    }

    /// Runs `refundry` with these words to its end.
    ///
    /// # Errors
    /// Where that is not a good one.
    pub fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
        let (child, _output) = spawn(&[&["refundry"], words].concat())?;
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("refundry {words:?}: {}", output.status).into())
    }

    fn new(child: Child, address: SocketAddr, output: BufReader<ChildStdout>) -> Program {
        Program {
            child,
            address,
            _output: output,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The id of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does what this process was started for, if it has a role; `None` where it has none and is the bench itself.
#[must_use]
pub fn play_role() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ROLE {
        return None;
    }
    let rest: Vec<OsString> = arguments.collect();
    if rest.first().is_some_and(|program| program == "refundry") {
        return Some(refundry::run(rest));
    }
    let texts: Vec<&str> = rest.iter().filter_map(|word| word.to_str()).collect();
    Some(match play_relay(&texts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay: {error}");
            ExitCode::FAILURE
        }
    })
}

fn play_relay(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let &["relay", issuer, links] = words else {
        return Err("no such role".into());
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // Once more, for a longer queue than the library asks for.
    rustix::net::listen(&listener, BACKLOG)?;
    println!("listening on {}", listener.local_addr()?);
    relay::run(listener, issuer.parse()?, links.parse()?, Framing::LEN2)?;
    Ok(())
}

fn spawn(words: &[&str]) -> Result<(Child, BufReader<ChildStdout>), Box<dyn Error>> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(ROLE)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    Ok((child, BufReader::new(output)))
}

/// The rest of the next line, which must begin like this.
fn line_behind(lines: &mut impl BufRead, start: &str) -> Result<String, Box<dyn Error>> {
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let rest = line.trim_end().strip_prefix(start);
    Ok(rest
        .ok_or_else(|| format!("expected a line with {start:?}, found {line:?}"))?
        .to_owned())
}

fn is_ready(admin: SocketAddr) -> Result<bool, Box<dyn Error>> {
    let mut stream = TcpStream::connect(admin)?;
    stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}
