//! Which dialect and which framing messages are in: all known ones are tried.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use iso8583_codec::{DecodeErrorKind, Spec};
use iso8583_framing::Framing;
use serde::Serialize;

use super::input::{self, Frames, Piece, Reading};
use super::table::aligned;
use crate::Failure;
use crate::cli::DecodeArgs;

/// Most messages that are looked at.
const SAMPLES_MAX: usize = 1000;

/// How many guesses are shown.
const SHOWN_MAX: usize = 10;

/// What a message is worth whose elements could all be told apart, up to the last byte.
const READ: f64 = 0.8;
/// What it is worth beyond that if all characters are of their classes, and all subfields can be read.
const CLASSES: f64 = 0.1;
/// The same of a message type indicator and elements that say what they must (a date that there is, say).
const SENSE: f64 = 0.1;

/// A dialect that is tried.
struct Candidate {
    /// How the command line names it.
    option: String,
    spec: Box<Spec>,
}

/// How well a dialect and a framing fit.
#[derive(Serialize)]
struct Guess {
    /// The dialect, or the file of it.
    spec: String,
    /// None where the messages stand alone.
    framing: Option<&'static str>,
    /// From 0 to 1.
    fit: f64,
    messages: usize,
    /// How many of them are good.
    good: usize,
    /// What speaks against it.
    reasons: Vec<String>,
    #[serde(skip)]
    option: String,
}

#[derive(Serialize)]
struct Guesses<'g> {
    guesses: &'g [Guess],
}

/// Tries all built-in dialects and those of the spec files, with every framing (or the one that is given), and prints the best.
///
/// # Errors
/// [`Failure::Found`] if none reads every message.
pub(super) fn run(args: &DecodeArgs, reading: Reading<'_>) -> Result<(), Failure> {
    let candidates = candidates(&args.spec)?;
    let mut samples: Vec<Vec<u8>> = Vec::new();
    let raw = Reading {
        raw: true,
        ..reading
    };
    let inputs: Vec<_> = args
        .inputs
        .iter()
        .map(|input| Some(input.as_os_str()))
        .collect();
    for input in if inputs.is_empty() {
        vec![None]
    } else {
        inputs
    } {
        input::read(input, raw, &mut |piece, _| match piece {
            Piece::Message(bytes) => {
                if samples.len() < SAMPLES_MAX && !bytes.is_empty() {
                    samples.push(bytes.to_vec());
                }
                Ok(())
            }
            Piece::KeepAlive => Ok(()),
            Piece::Bad { message, .. } => Err(Failure::Failed(message)),
        })?;
    }
    if samples.is_empty() {
        return Err(Failure::Failed("no message in the input".to_owned()));
    }
    let mut guesses = Vec::new();
    let framings: Vec<Option<Framing>> = match args.framing {
        Some(framing) => vec![Some(framing)],
        None => {
            let presets = Framing::NAMES
                .iter()
                .filter_map(|name| Framing::by_name(name));
            std::iter::once(None).chain(presets.map(Some)).collect()
        }
    };
    for framing in framings {
        let Some(messages) = cut(&samples, framing) else {
            continue;
        };
        for candidate in &candidates {
            guesses.push(guess(candidate, framing, &messages));
        }
    }
    // The sort is stable: among equals, the plainer one stands first.
    guesses.sort_by(|one, other| other.fit.total_cmp(&one.fit));
    guesses.truncate(SHOWN_MAX);
    let text = if args.json {
        let line = serde_json::to_string(&Guesses { guesses: &guesses });
        line.map_err(|error| Failure::Failed(error.to_string()))? + "\n"
    } else {
        text(&guesses)
    };
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::output(&error))?;
    match guesses.first() {
        Some(best) if best.good == best.messages => Ok(()),
        _ => Err(Failure::Found),
    }
}

/// The built-in dialects, and those of files and folders.
fn candidates(paths: &[PathBuf]) -> Result<Vec<Candidate>, Failure> {
    let built_in = Spec::NAMES.iter().filter_map(|name| {
        let spec = Spec::by_name(name)?;
        let spec = Spec::compile(spec.dialect()).ok()?;
        Some(Candidate {
            option: format!("--dialect {name}"),
            spec: Box::new(spec),
        })
    });
    let mut candidates: Vec<Candidate> = built_in.collect();
    let of_file = |file: &Path| {
        super::load_spec(file).map(|spec| Candidate {
            option: format!("--spec {}", file.display()),
            spec: Box::new(spec),
        })
    };
    for path in paths {
        if !path.is_dir() {
            candidates.push(of_file(path)?);
            continue;
        }
        let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", path.display()));
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            files.push(entry.map_err(failed)?.path());
        }
        files.sort();
        files.retain(|file| {
            let ending = file.extension().and_then(|ending| ending.to_str());
            matches!(ending, Some("toml" | "xml" | "json"))
        });
        for file in files {
            match of_file(&file) {
                Ok(candidate) => candidates.push(candidate),
                Err(failure) => {
                    let text = failure.to_string();
                    let first = text.lines().next().unwrap_or_default();
                    eprintln!("refundry decode: left out: {first}");
                }
            }
        }
    }
    Ok(candidates)
}

/// The messages of samples that are framed like this; `None` where they are not.
fn cut(samples: &[Vec<u8>], framing: Option<Framing>) -> Option<Vec<Vec<u8>>> {
    let Some(framing) = framing else {
        return Some(samples.to_vec());
    };
    let mut messages = Vec::new();
    let mut is_bad = false;
    for sample in samples {
        let mut sink = |piece: Piece<'_>, _: Option<&_>| {
            match piece {
                Piece::Message(bytes) => messages.push(bytes.to_vec()),
                Piece::KeepAlive => {}
                Piece::Bad { .. } => is_bad = true,
            }
            Ok(())
        };
        let mut frames = Frames::new(framing);
        frames.take(sample, None, &mut sink).ok()?;
        frames.end(None, &mut sink).ok()?;
        if is_bad {
            return None;
        }
    }
    messages.truncate(SAMPLES_MAX);
    (!messages.is_empty()).then_some(messages)
}

fn guess(candidate: &Candidate, framing: Option<Framing>, messages: &[Vec<u8>]) -> Guess {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    let (mut sum, mut good) = (0.0, 0);
    for message in messages {
        let (fit, is_good, reason) = fit(&candidate.spec, message);
        sum += fit;
        good += usize::from(is_good);
        if let Some(reason) = reason {
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, count)) => *count += 1,
                None => reasons.push((reason, 1)),
            }
        }
    }
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let reasons = reasons.into_iter().take(3).map(|(reason, count)| {
        if messages.len() == 1 {
            reason
        } else {
            format!("{reason} (in {count})")
        }
    });
    let fit = sum / messages.len() as f64;
    Guess {
        spec: candidate.spec.name().to_owned(),
        framing: framing.map(|framing| framing.name()),
        fit: (fit * 1000.0).round() / 1000.0,
        messages: messages.len(),
        good,
        reasons: reasons.collect(),
        option: candidate.option.clone(),
    }
}

/// How well a message fits, whether it is good, and what is wrong with it.
fn fit(spec: &Spec, bytes: &[u8]) -> (f64, bool, Option<String>) {
    let message = match spec.decode(bytes) {
        Ok(message) => message,
        Err(error) => {
            let way = error.offset() as f64 / bytes.len().max(1) as f64;
            let worth = match (error.field(), error.kind()) {
                (None, DecodeErrorKind::TrailingBytes { .. }) => READ * 0.6 * way,
                (None, _) => 0.0,
                (Some(_), _) => READ * 0.6 * way,
            };
            let reason = match (error.field(), error.kind()) {
                (Some(de), DecodeErrorKind::Undefined) => {
                    format!("the bitmap announces data element {de}, which is not defined")
                }
                (None, DecodeErrorKind::TrailingBytes { count }) => {
                    format!("{count} bytes are left over")
                }
                _ => error.to_string(),
            };
            return (worth, false, Some(reason));
        }
    };
    let sense = super::sense(&message);
    match super::fault_of(&message) {
        Some(fault) => (READ + SENSE * sense, false, Some(fault.message)),
        None => {
            let strange = (sense < 1.0)
                .then(|| "values that make no sense (type, dates, check digit)".to_owned());
            (READ + CLASSES + SENSE * sense, true, strange)
        }
    }
}

fn text(guesses: &[Guess]) -> String {
    let mut lines = vec![vec![
        "fit".to_owned(),
        "dialect".to_owned(),
        "framing".to_owned(),
        "good".to_owned(),
        "what speaks against it".to_owned(),
    ]];
    lines.extend(guesses.iter().map(|guess| {
        vec![
            format!("{:.1}%", guess.fit * 100.0),
            guess.spec.clone(),
            guess.framing.unwrap_or("none").to_owned(),
            format!("{} of {}", guess.good, guess.messages),
            guess.reasons.join("; "),
        ]
    }));
    let mut text = aligned(&lines);
    if let Some(best) = guesses.first().filter(|best| best.good > 0) {
        let framing = best.framing.map(|name| format!(" --framing {name}"));
        let framing = framing.unwrap_or_default();
        text.push_str(&format!("\nrefundry decode {}{framing} ...\n", best.option));
    }
    text
}
