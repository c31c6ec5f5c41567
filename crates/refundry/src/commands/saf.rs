//! `refundry saf`: the advices that wait and the dead letters. A running node is asked over its socket; without one the files
//! are read, and nothing can be changed.

use std::io::{self, Write};

use refund_ledger::store::Store;
use refund_ledger::{Advice, Vault};
use serde_json::Value;
use switch_core::Civil;

use super::place::{Emit, Place};
use crate::cli::{SafCommand, SafDiscardArgs, SafListArgs, SafReplayArgs, SafShowArgs};
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::{Question, SafQuestion};
use crate::saf_view::{self, Encoded, View};
use crate::{Failure, secrets};

/// Runs the command.
///
/// # Errors
/// [`Failure::Usage`] for the configuration, a malformed key, or a discard without `--yes`; [`Failure::Failed`] where the
/// ledger cannot be read, holds no such advice, or the node refuses; [`Failure::Found`] where some of several were refused.
pub fn run(command: &SafCommand) -> Result<(), Failure> {
    match command {
        SafCommand::List(args) => list(args),
        SafCommand::Show(args) => show(args),
        SafCommand::Replay(args) => replay(args),
        SafCommand::Discard(args) => discard(args),
    }
}

fn list(args: &SafListArgs) -> Result<(), Failure> {
    let place = Place::of(&args.place)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut lines = 0u64;
    let question = SafQuestion::List { dead: args.dead };
    ask(&place, &question, &mut |line| {
        lines += 1;
        if args.json {
            return writeln!(out, "{line}");
        }
        let value = serde_json::from_str(line)?;
        if lines == 1 {
            print_head(&mut out, &value)?;
        }
        print_line(&mut out, &value)
    })?;
    if lines == 0 && !args.json {
        let what = if args.dead {
            "no dead letters"
        } else {
            "no advice waits, and there are no dead letters"
        };
        writeln!(out, "{what}").map_err(|error| Failure::output(&error))?;
    }
    out.flush().map_err(|error| Failure::output(&error))
}

fn show(args: &SafShowArgs) -> Result<(), Failure> {
    let key = checked(&args.key)?;
    let place = Place::of(&args.place)?;
    let mut out = io::stdout().lock();
    ask(&place, &SafQuestion::Show { key }, &mut |line| {
        let mut value: Value = serde_json::from_str(line)?;
        if !args.json {
            return print_advice(&mut out, &value);
        }
        if let Some(fields) = value.as_object_mut() {
            fields.remove("table");
        }
        writeln!(out, "{value}")
    })
}

fn replay(args: &SafReplayArgs) -> Result<(), Failure> {
    let question = match (&args.key, &args.link) {
        (Some(key), _) => SafQuestion::Replay { key: checked(key)? },
        (None, Some(link)) => SafQuestion::ReplayAll { link: link.clone() },
        (None, None) => {
            return Err(Failure::Usage(
                "give KEY, or --all-dead with --link NAME".to_owned(),
            ));
        }
    };
    let place = Place::of(&args.place)?;
    if let (Some(config), SafQuestion::ReplayAll { link }) = (&place.config, &question)
        && !config.issuer.iter().any(|issuer| issuer.name == *link)
    {
        return Err(Failure::Usage(format!(
            "--link: no issuer is named {link:?} in the configuration"
        )));
    }
    let mut out = io::stdout().lock();
    let (mut replayed, mut refused) = (0u64, 0u64);
    ask_node(&place, &question, &mut |line| {
        let value: Value = serde_json::from_str(line)?;
        let key = text(&value, "key");
        match value["refused"].as_str() {
            Some(why) => {
                refused += 1;
                writeln!(out, "{key} stays a dead letter: {why}")
            }
            None => {
                replayed += 1;
                writeln!(out, "{key} is back in the queue")
            }
        }
    })?;
    if replayed + refused == 0 {
        writeln!(out, "no dead letters of this link").map_err(|error| Failure::output(&error))?;
    }
    match refused {
        0 => Ok(()),
        _ => Err(Failure::Found),
    }
}

fn discard(args: &SafDiscardArgs) -> Result<(), Failure> {
    let key = checked(&args.key)?;
    let place = Place::of(&args.place)?;
    if !args.yes {
        return Err(unconfirmed(&place, key)?);
    }
    let mut out = io::stdout().lock();
    ask_node(&place, &SafQuestion::Discard { key }, &mut |line| {
        let value: Value = serde_json::from_str(line)?;
        writeln!(
            out,
            "{} is closed: {}",
            text(&value, "key"),
            text(&value, "means")
        )
    })
}

/// What a discard would say, for whoever has not said `--yes`.
fn unconfirmed(place: &Place, key: String) -> Result<Failure, Failure> {
    let mut means = None;
    let question = SafQuestion::Show { key: key.clone() };
    ask(place, &question, &mut |line| {
        let value: Value = serde_json::from_str(line)?;
        means = value["discard_means"].as_str().map(str::to_owned);
        Ok(())
    })?;
    Ok(match means {
        Some(means) => Failure::Usage(format!(
            "to discard {key} means: {means}. It cannot be undone. Where that is so, add --yes"
        )),
        None => Failure::Failed(format!(
            "{key} is no dead letter: it is on its way to the issuer"
        )),
    })
}

/// The key as it was given, where it is one.
fn checked(key: &str) -> Result<String, Failure> {
    let parsed = saf_view::parse_key(key).map_err(Failure::Usage)?;
    Ok(saf_view::key_text(parsed))
}

/// Asks the running node, or the files where none runs.
fn ask(
    place: &Place,
    question: &SafQuestion,
    line: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<(), Failure> {
    let on_ledger = |store: &dyn Store, emit: &mut Emit<'_>| {
        let view = View {
            store,
            now: Clock::start().microseconds(),
            progress: &|keys| vec![None; keys.len()],
            message: &|advice| sealed_message(place.config.as_ref(), advice),
        };
        saf_view::answer(&view, question, emit)
    };
    place.ask(&Question::Saf(question.clone()), &on_ledger, line)
}

/// Asks the running node for what only it can do.
fn ask_node(
    place: &Place,
    question: &SafQuestion,
    line: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<(), Failure> {
    if place.ask_running(&Question::Saf(question.clone()), line)? {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "{}: no node runs on this folder, and the running node alone replays and discards; start it and ask again",
        place.data_dir.display()
    )))
}

/// The message of an advice of a node that does not run.
fn sealed_message(config: Option<&Config>, advice: &Advice) -> Encoded {
    let config = config.ok_or("it is sealed; give --config FILE, which names the key file")?;
    let link = advice.link.as_str();
    let issuer = config.issuer.iter().find(|issuer| issuer.name == link);
    let spec = issuer
        .ok_or("its link is not in the configuration")?
        .dialect;
    let keys = secrets::load_or_create(&config.secrets.key_file, false)
        .map_err(|error| error.to_string())?;
    let vault = Vault::new(&keys.digest, &keys.sealing).map_err(|error| error.to_string())?;
    let message = switch_core::advice_message(advice, &vault, spec);
    message
        .map(|message| (message, spec))
        .ok_or_else(|| "its text was sealed with a key that is not there".to_owned())
}

fn text(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Seconds as `12s`, `5m`, `3h` or `2d`, rounded down.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What happens next, in a word.
fn next(value: &Value) -> String {
    if value["state"] == "dead" {
        "never".to_owned()
    } else if value["no_link"] == true {
        "no link".to_owned()
    } else if value["under_way"] == true {
        "under way".to_owned()
    } else if value["behind_another"] == true {
        "in turn".to_owned()
    } else {
        match value["next_attempt_seconds"].as_u64() {
            Some(seconds) => format!("in {}", span(seconds)),
            None => "-".to_owned(),
        }
    }
}

/// With a column more where `first`, the first line, names a node.
fn print_head(out: &mut impl Write, first: &Value) -> io::Result<()> {
    let last = match first.get("node") {
        Some(_) => "RRN          NODE",
        None => "RRN",
    };
    writeln!(
        out,
        "{:<34} {:<16} {:<7} {:<12} {:>8} {:>5} {:<9} {:>4} {:>12} {:>3} {:<15} {:<8} {:<6} {last}",
        "KEY",
        "KIND",
        "STATE",
        "LINK",
        "ATTEMPTS",
        "AGE",
        "NEXT",
        "CODE",
        "AMOUNT",
        "CUR",
        "MERCHANT",
        "TERMINAL",
        "STAN",
    )
}

fn print_line(out: &mut impl Write, value: &Value) -> io::Result<()> {
    let text = |name| text(value, name);
    let last = match value.get("node") {
        Some(_) => format!("{:<12} {}", text("rrn"), text("node")),
        None => text("rrn"),
    };
    writeln!(
        out,
        "{:<34} {:<16} {:<7} {:<12} {:>8} {:>5} {:<9} {:>4} {:>12} {:>3} {:<15} {:<8} {:<6} {last}",
        text("key"),
        text("kind"),
        text("state"),
        text("link"),
        text("attempts"),
        span(value["age_seconds"].as_u64().unwrap_or(0)),
        next(value),
        text("code"),
        text("amount"),
        text("currency"),
        text("merchant"),
        text("terminal"),
        text("stan"),
    )
}

fn print_advice(out: &mut impl Write, value: &Value) -> io::Result<()> {
    let text = |name| text(value, name);
    let when = |name: &str| match value[name].as_u64() {
        Some(milliseconds) => Civil::from_unix_seconds(milliseconds / 1000).to_string(),
        None => "-".to_owned(),
    };
    writeln!(
        out,
        "{} toward {}: {}, {} attempts, last code {}, next {}",
        text("kind"),
        text("link"),
        text("state"),
        text("attempts"),
        text("code"),
        next(value),
    )?;
    writeln!(out, "  key       {}", text("key"))?;
    writeln!(
        out,
        "  about     {} {} of {} (minor units of currency {}), stan {} rrn {}",
        text("transaction_kind"),
        text("transaction_status"),
        text("amount"),
        text("currency"),
        text("stan"),
        text("rrn"),
    )?;
    writeln!(
        out,
        "  merchant  {} (realm {}), terminal {}",
        text("merchant"),
        text("realm"),
        text("terminal"),
    )?;
    if value.get("node").is_some() {
        writeln!(out, "  node      {}", text("node"))?;
    }
    writeln!(
        out,
        "  times     queued {} changed {}",
        when("created"),
        when("moved")
    )?;
    if let Some(means) = value["discard_means"].as_str() {
        writeln!(out, "  discard   {means}")?;
    }
    match value["table"].as_str() {
        Some(table) => writeln!(out, "\n{}", table.trim_end()),
        None => writeln!(out, "  message   {}", text("message_error")),
    }
}
