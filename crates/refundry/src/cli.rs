//! The command line: what can be asked, and the way to the command that does it.

mod load;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use iso8583_codec::Spec;
use iso8583_framing::Framing;
use simulators::issuer::Rule;

pub use self::load::LoadArgs;
use crate::config::{Address, parse_duration};
use crate::telemetry::LogFormat;
use crate::{Failure, allocator, commands, presets, telemetry};

/// The whole command line.
#[derive(Parser, Debug)]
#[command(
    name = "refundry",
    version,
    about = "ISO 8583 acquirer switch for refunds and reversals",
    after_help = "Exit status: 0 done, 1 failed while running, 2 bad usage or bad configuration.\n\
                  Try it out: refundry demo"
)]
pub struct Cli {
    /// How to log.
    #[command(flatten)]
    pub log: LogOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
pub struct LogOptions {
    /// How logs are written
    #[arg(long, global = true, value_enum, value_name = "human|json", default_value_t = LogFormat::Human,
        hide_possible_values = true, help_heading = "Logs, which go to stderr")]
    pub log_format: LogFormat,
    /// Which logs are written, such as `debug` or `info,switch_core=debug` [default: $REFUNDRY_LOG, else info; demo: error]
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        help_heading = "Logs, which go to stderr"
    )]
    pub log_level: Option<String>,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the switch until SIGTERM or SIGINT
    Serve(ServeArgs),
    /// Show a scripted day on an empty machine: simulated issuer, switch and terminal over real TCP
    Demo(DemoArgs),
    /// Print messages field by field, card data masked
    Decode(DecodeArgs),
    /// Encode messages from JSON lines, as `decode --json` prints them
    Encode(EncodeArgs),
    /// Validate a configuration and print the effective one
    Check(CheckArgs),
    /// Look at spec files of dialects (TOML, jPOS XML, moov JSON), and convert them
    Spec {
        /// What to do.
        #[command(subcommand)]
        command: SpecCommand,
    },
    /// Simulators for tests and trials
    Simulate {
        /// Which simulator.
        #[command(subcommand)]
        simulator: Simulator,
    },
    /// Look into the ledger; make, fill and check it
    Ledger {
        /// What to do.
        #[command(subcommand)]
        question: LedgerQuestion,
    },
    /// Look into store and forward: advices that wait for an issuer, and dead letters
    Saf {
        /// What to do.
        #[command(subcommand)]
        command: SafCommand,
    },
    /// Make the key file of a new ledger that several nodes share
    Keys {
        /// What to do.
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Generate load, and check every answer
    Load(LoadArgs),
}

/// `refundry serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `refundry demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// End after the last step instead of staying up; exit 0 only if every step came out as scripted
    #[arg(long)]
    pub exit: bool,
    /// Play the day in this file (TOML) instead of the built-in one, fixtures/demo/day.toml, which says how to write one
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
}

/// `refundry check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `refundry decode`.
#[derive(Args, Debug)]
#[command(after_help = "\
Hex is read as people paste it: 02007224.., 02 00 72, 02:00:72, 0x02, 0x00; one message a line, or dumps with offsets
(xxd, hexdump -C, od -t x1, tcpdump -X, Wireshark), which may go over many lines. Empty lines and lines that begin with #
are skipped. A FILE that is no text is the bytes themselves, or a capture (pcap, pcapng), of which all TCP streams are read,
in frames of len2 unless --framing says otherwise. `-` is stdin, as is no argument. Offsets count the bytes of the message
from 0.

Examples:
  refundry decode 303830303832323030303030303030303030303034...
  refundry decode --dialect iso87-binary --framing len2 capture.bin
  refundry decode --spec host.xml --port 8583 trace.pcap
  refundry decode --diff request.hex answer.hex
  refundry decode --guess --spec specs/ trace.hex
  grep -o '[0-9A-F]*$' trace.log | refundry decode --json -")]
pub struct DecodeArgs {
    /// The dialect of the messages: iso87-ascii or iso87-binary
    #[arg(long, value_name = "NAME", default_value = "iso87-ascii", value_parser = presets::dialect)]
    pub dialect: &'static Spec,
    /// The dialect of this spec file (TOML, jPOS XML, moov JSON); with --guess also a folder of them, and several times
    #[arg(long, value_name = "FILE", conflicts_with = "dialect")]
    pub spec: Vec<PathBuf>,
    /// The frame header before each message: len2, len4-ascii, nac or another preset, or columns such as
    /// 'preset = "nac", tpdu = "6000030000"' [default: none; len2 in a capture]
    #[arg(long, value_name = "NAME", value_parser = presets::framing)]
    pub framing: Option<Framing>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Print card numbers, tracks and PIN blocks as they are
    #[arg(long)]
    pub show_pan: bool,
    /// Show where each field lies, and its bytes; with --json as "described", with names and meanings
    #[arg(long)]
    pub detail: bool,
    /// Take the whole text for one message, whatever its lines
    #[arg(long)]
    pub one: bool,
    /// Read only connections from or to this port of a capture
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Print what differs between two messages, of two inputs or one; exit 1 if anything does
    #[arg(long, conflicts_with_all = ["guess", "detail"])]
    pub diff: bool,
    /// Try every dialect and framing and rank them by how well they fit; exit 1 if none reads every message
    #[arg(long, conflicts_with_all = ["dialect", "detail", "show_pan"])]
    pub guess: bool,
    /// A message in hex, a file, or - for stdin
    #[arg(value_name = "HEX or FILE or -", num_args = 0..=2)]
    pub inputs: Vec<OsString>,
}

/// `refundry encode`.
#[derive(Args, Debug)]
#[command(after_help = "\
A line is what `refundry decode --json --show-pan` prints: elements by number, text as a string, bytes as {\"hex\":..},
subfields as an object by number or tag. Empty lines and lines that begin with # are skipped.

Example:
  echo '{\"mti\":\"0800\",\"fields\":{\"7\":\"1122103000\",\"11\":\"000001\",\"70\":\"301\"}}' | refundry encode --framing len2")]
pub struct EncodeArgs {
    /// The dialect of the messages: iso87-ascii or iso87-binary
    #[arg(long, value_name = "NAME", default_value = "iso87-ascii", value_parser = presets::dialect)]
    pub dialect: &'static Spec,
    /// The dialect of this spec file (TOML, jPOS XML, moov JSON)
    #[arg(long, value_name = "FILE", conflicts_with = "dialect")]
    pub spec: Option<PathBuf>,
    /// Put a frame around each message: len2, len4-ascii, nac or another preset, or columns such as
    /// 'preset = "nac", tpdu = "6000030000"' [default: none]
    #[arg(long, value_name = "NAME", value_parser = presets::framing)]
    pub framing: Option<Framing>,
    /// Write the bytes one message behind the other, and no hex
    #[arg(long)]
    pub binary: bool,
    /// A file of JSON lines, or - for stdin
    #[arg(value_name = "FILE or -")]
    pub input: Option<PathBuf>,
}

/// `refundry spec`.
#[derive(Subcommand, Debug)]
pub enum SpecCommand {
    /// Read a spec file and say what it has in it, or everything that is wrong with it
    Check(SpecCheckArgs),
    /// Write a spec file in another format
    Convert(SpecConvertArgs),
}

/// `refundry spec check`.
#[derive(Args, Debug)]
pub struct SpecCheckArgs {
    /// Warn of what cannot be had instead of refusing the file; such a field is kept as bytes, or left out
    #[arg(long)]
    pub lenient: bool,
    /// The spec file: TOML, a jPOS XML packager, or moov JSON
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `refundry spec convert`.
#[derive(Args, Debug)]
#[command(after_help = "\
TOML can say everything. What the other formats have no words for is an error, or with --lenient left out with a warning.

Examples:
  refundry spec convert packager.xml > dialect.toml
  refundry spec convert --to moov dialect.toml --output spec.json")]
pub struct SpecConvertArgs {
    /// The format to write
    #[arg(long, value_enum, value_name = "toml|jpos|moov", default_value_t = SpecFormat::Toml, hide_possible_values = true)]
    pub to: SpecFormat,
    /// Warn of what cannot be had, or said, instead of refusing
    #[arg(long)]
    pub lenient: bool,
    /// Where to write [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The spec file: TOML, a jPOS XML packager, or moov JSON
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// The formats of spec files.
#[derive(ValueEnum, Copy, Clone, PartialEq, Eq, Debug)]
pub enum SpecFormat {
    /// Our own.
    Toml,
    /// XML packagers.
    Jpos,
    /// JSON specs.
    Moov,
}

/// `refundry simulate`.
#[derive(Subcommand, Debug)]
pub enum Simulator {
    /// An issuer host: approves, declines, delays, loses and spoils answers by rule
    Issuer(IssuerArgs),
}

/// `refundry simulate issuer`.
#[derive(Args, Debug)]
#[command(after_help = "\
A rule is conditions, a colon and actions; the first that matches decides, otherwise the issuer approves:
  --rule 'amount=5100: decline 51'             DE4 is 5100
  --rule 'mti=042x times=2: drop'              the first two advices are executed, their answers lost
  --rule 'processing=20 pan=4111: delay 500ms' refunds to these cards
Conditions: mti= processing= amount=N, N-M or *ENDING, pan= network= times=
Actions: approve, decline CODE, partial AMOUNT, ignore, drop, close, garbage, delay TIME, late TIME, twice, wrong DE,
extra DE=VALUE; several with commas between.")]
pub struct IssuerArgs {
    /// Where to listen; port 0 takes a free one, which the first line of the output says
    #[arg(long, value_name = "ADDR", value_parser = Address::parse)]
    pub listen: Address,
    /// The dialect: iso87-ascii or iso87-binary
    #[arg(long, value_name = "NAME", default_value = "iso87-ascii", value_parser = presets::dialect)]
    pub dialect: &'static Spec,
    /// A dialect from a file instead: ours in TOML, a jPOS XML packager or a moov JSON spec
    #[arg(long, value_name = "FILE", conflicts_with = "dialect")]
    pub spec: Option<PathBuf>,
    /// The frame header: len2, len4-ascii, nac or another preset, or columns such as 'preset = "nac", tpdu = "6000030000"'
    #[arg(long, value_name = "NAME", default_value = "len2", value_parser = presets::framing)]
    pub framing: Framing,
    /// What to do with which message; may be given several times
    #[arg(long = "rule", value_name = "RULE")]
    pub rules: Vec<Rule>,
    /// Wait so long before every answer that no rule decides, such as 200ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub delay: Option<Duration>,
    /// Approve whatever can be read and keep no books, for load; one thread
    #[arg(long, conflicts_with_all = ["rules", "delay", "journal"])]
    pub plain: bool,
    /// Write every message that is seen to this file, one JSON object a line, card numbers masked
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
}

/// `refundry ledger`.
#[derive(Subcommand, Debug)]
pub enum LedgerQuestion {
    /// One original with its movements
    Show(LedgerShowArgs),
    /// All originals with their movements
    Export(LedgerExportArgs),
    /// Derive every balance anew and compare; exit 1 on any difference or damage
    Verify(LedgerVerifyArgs),
    /// Fill an empty ledger with what `export --format full` has written, or go on with that; all nodes must be stopped
    Import(LedgerImportArgs),
    /// Make the tables of a ledger in PostgreSQL, or bring them up to date; does nothing where they are
    Migrate(LedgerMigrateArgs),
}

/// `refundry keys`.
#[derive(Subcommand, Debug)]
pub enum KeysCommand {
    /// Make a key file with new keys; give each node a copy
    New {
        /// The file to make, as `secrets.key_file` names it
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// `refundry ledger import`.
#[derive(Args, Debug)]
pub struct LedgerImportArgs {
    /// The configuration file of a node (TOML), which names the ledger to be filled
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// What was exported; stdin where none or `-` is given
    #[arg(value_name = "EXPORT")]
    pub file: Option<PathBuf>,
}

impl LedgerImportArgs {
    /// What messages call the file.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.file {
            Some(file) if file.as_os_str() != "-" => file.display().to_string(),
            _ => "stdin".to_owned(),
        }
    }
}

/// `refundry ledger migrate`.
#[derive(Args, Debug)]
pub struct LedgerMigrateArgs {
    /// The configuration file of a node (TOML), with engine = "postgres"
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Which ledger is meant.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct LedgerPlace {
    /// The configuration file of the node (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data folder of the node
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// `refundry ledger show`.
#[derive(Args, Debug)]
pub struct LedgerShowArgs {
    /// Which ledger.
    #[command(flatten)]
    pub place: LedgerPlace,
    /// The retrieval reference number (DE37) of the original
    #[arg(
        long,
        value_name = "RRN",
        requires = "merchant",
        required_unless_present = "key"
    )]
    pub rrn: Option<String>,
    /// The card acceptor (DE42) of the original
    #[arg(long, value_name = "DE42", requires = "rrn")]
    pub merchant: Option<String>,
    /// The key of the original, as `export` and the logs say it
    #[arg(long, value_name = "KEY", conflicts_with_all = ["rrn", "merchant"])]
    pub key: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `refundry ledger export`.
#[derive(Args, Debug)]
pub struct LedgerExportArgs {
    /// Which ledger.
    #[command(flatten)]
    pub place: LedgerPlace,
    /// How to write them
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ExportFormat::Json)]
    pub format: ExportFormat,
}

/// `refundry ledger verify`.
#[derive(Args, Debug)]
pub struct LedgerVerifyArgs {
    /// Which ledger.
    #[command(flatten)]
    pub place: LedgerPlace,
}

/// `refundry saf`.
#[derive(Subcommand, Debug)]
pub enum SafCommand {
    /// Advices that wait, and dead letters, the oldest first
    List(SafListArgs),
    /// One of them, with its message field by field, card data masked
    Show(SafShowArgs),
    /// Put dead letters back into the queue: they go out at once, as repeats of what was sent (the node must run)
    Replay(SafReplayArgs),
    /// Close a dead letter that was settled with the issuer by hand (the node must run)
    Discard(SafDiscardArgs),
}

/// `refundry saf list`.
#[derive(Args, Debug)]
pub struct SafListArgs {
    /// Which ledger.
    #[command(flatten)]
    pub place: LedgerPlace,
    /// Dead letters alone
    #[arg(long)]
    pub dead: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `refundry saf show`.
#[derive(Args, Debug)]
pub struct SafShowArgs {
    /// Which ledger.
    #[command(flatten)]
    pub place: LedgerPlace,
    /// The advice, as `list` shows it: the key of its transaction, a slash, a number
    #[arg(value_name = "KEY")]
    pub key: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `refundry saf replay`.
#[derive(Args, Debug)]
pub struct SafReplayArgs {
    /// Which ledger.
    #[command(flatten)]
    pub place: LedgerPlace,
    /// The dead letter, as `list` shows it
    #[arg(value_name = "KEY", required_unless_present = "all_dead", conflicts_with_all = ["all_dead", "link"])]
    pub key: Option<String>,
    /// All dead letters of a link, the oldest first
    #[arg(long, requires = "link")]
    pub all_dead: bool,
    /// The name of the issuer link
    #[arg(long, value_name = "NAME", requires = "all_dead")]
    pub link: Option<String>,
}

/// `refundry saf discard`.
#[derive(Args, Debug)]
#[command(after_help = "\
What it says depends on what is closed; without --yes it is named and nothing is changed:
  a reversal          the issuer has taken the transaction back or never executed it, as if it had acknowledged the advice
  a partial reversal  the issuer knows the amount that stays
  a refund            the issuer has not executed it and never will: its amount can be refunded again")]
pub struct SafDiscardArgs {
    /// Which ledger.
    #[command(flatten)]
    pub place: LedgerPlace,
    /// The dead letter, as `list` shows it
    #[arg(value_name = "KEY")]
    pub key: String,
    /// It is so
    #[arg(long)]
    pub yes: bool,
}

/// How `refundry ledger export` writes.
#[derive(ValueEnum, Copy, Clone, PartialEq, Eq, Debug)]
pub enum ExportFormat {
    /// One JSON object a line
    #[value(alias = "jsonl")]
    Json,
    /// Comma-separated values with a head line
    Csv,
    /// Everything, to be imported into another engine: records in their stored form, card numbers sealed; all nodes must be stopped
    Full,
}

/// Runs the program with these arguments, the program's own name first. Logs and messages go to stderr, results to stdout.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    allocator::set_up();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody may be reading; the exit status says it all.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match dispatch(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&failure.to_string(), cli.log.log_format);
            failure.exit_code()
        }
    }
}

/// Says why the program ends, in the form of its logs.
fn say(message: &str, format: LogFormat) {
    let as_log = format == LogFormat::Json && tracing::enabled!(tracing::Level::ERROR);
    for line in message.lines() {
        match as_log {
            true => tracing::error!("{line}"),
            false => eprintln!("refundry: {line}"),
        }
    }
}

fn dispatch(cli: &Cli) -> Result<(), Failure> {
    // The scripted faults of the demo are warned of, as they should be, but not between the rows of its table.
    let default = match cli.command {
        Command::Demo(_) => "error",
        _ => telemetry::FILTER_DEFAULT,
    };
    telemetry::init(cli.log.log_format, cli.log.log_level.as_deref(), default)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    match &cli.command {
        Command::Serve(args) => commands::serve::run(args),
        Command::Demo(args) => commands::demo::run(args),
        Command::Decode(args) => commands::decode::run(args),
        Command::Encode(args) => commands::encode::run(args),
        Command::Check(args) => commands::check::run(args),
        Command::Spec {
            command: SpecCommand::Check(args),
        } => commands::spec::check(args),
        Command::Spec {
            command: SpecCommand::Convert(args),
        } => commands::spec::convert(args),
        Command::Simulate {
            simulator: Simulator::Issuer(args),
        } => commands::simulate::issuer(args),
        Command::Ledger { question } => commands::ledger::run(question),
        Command::Saf { command } => commands::saf::run(command),
        Command::Keys { command } => commands::keys::run(command),
        Command::Load(args) => commands::load::run(args),
    }
}
