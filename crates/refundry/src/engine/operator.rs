//! What operators do with dead letters, on the running node.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use refund_ledger::{Advice, AdviceKey, AdviceState};
use serde_json::json;
use switch_core::{Operation, Progress};

use super::Engine;
use super::questions::SafQuestion;
use crate::saf_view::{self, View};

/// What came of an operation must be known within this time.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Advices whose progress is asked for under one lock.
const LOOKED_AT_ONCE: usize = 256;

/// Answers a question about advices, one JSON line each. Waits for disks.
pub(super) fn answer(
    engine: &Engine,
    question: &SafQuestion,
    emit: &mut dyn FnMut(String) -> io::Result<()>,
) -> Result<(), String> {
    let store = &*engine.store;
    match question {
        SafQuestion::Replay { key } => {
            let key = saf_view::parse_key(key)?;
            // The core knows of another node's only what was read here.
            saf_view::find(store, key)?;
            engine.operate(key, Operation::Replay)?;
            written(emit(
                json!({ "key": saf_view::key_text(key), "replayed": true }).to_string(),
            ))
        }
        SafQuestion::ReplayAll { link } => {
            let of_link =
                |advice: &Advice| advice.state == AdviceState::Dead && advice.link.as_str() == link;
            let advices = store.advices();
            for advice in advices.iter().filter(|advice| of_link(advice)) {
                let mut line = json!({ "key": saf_view::key_text(advice.key) });
                match engine.operate(advice.key, Operation::Replay) {
                    Ok(()) => line["replayed"] = json!(true),
                    Err(error) => line["refused"] = json!(error),
                }
                written(emit(line.to_string()))?;
            }
            Ok(())
        }
        SafQuestion::Discard { key } => {
            let key = saf_view::parse_key(key)?;
            let means = saf_view::discard_means(store, key)?;
            engine.operate(key, Operation::Discard)?;
            let line = json!({ "key": saf_view::key_text(key), "discarded": true, "means": means });
            written(emit(line.to_string()))
        }
        SafQuestion::List { .. } | SafQuestion::Show { .. } => {
            let view = View {
                store,
                now: engine.clock.microseconds(),
                progress: &|keys| engine.progress(keys),
                message: &|advice| {
                    engine
                        .look(|core| core.advice_message(advice))
                        .ok_or_else(|| "its link is not in the configuration, or its text was sealed with a key that is not there".to_owned())
                },
            };
            saf_view::answer(&view, question, emit)
        }
    }
}

fn written(result: io::Result<()>) -> Result<(), String> {
    result.map_err(|error| format!("the answer could not be written: {error}"))
}

impl Engine {
    /// Does something with a dead letter; waits until that is durable.
    fn operate(&self, key: AdviceKey, operation: Operation) -> Result<(), String> {
        let ticket = self.last_ticket.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, receiver) = sync_channel(1);
        self.lock().operators.insert(ticket, sender);
        self.with(|core, now| core.operate(ticket, key, operation, now));
        let operated = receiver.recv_timeout(OPERATION_TIMEOUT);
        self.lock().operators.remove(&ticket);
        match operated {
            Ok(operated) => operated.map_err(|error| error.to_string()),
            Err(_) => Err(
                "the ledger did not say in time what came of it; look at it with `refundry saf show`"
                    .to_owned(),
            ),
        }
    }

    fn progress(&self, keys: &[AdviceKey]) -> Vec<Option<Progress>> {
        let some = |some: &[AdviceKey]| -> Vec<Option<Progress>> {
            self.look(|core| some.iter().map(|key| core.progress(*key)).collect())
        };
        keys.chunks(LOOKED_AT_ONCE).flat_map(some).collect()
    }
}
