//! Plays the day step by step: sends, receives, and compares with what the script expects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use iso8583_codec::mask;
use refund_ledger::Reason;
use simulators::issuer::{CardTotals, Seen};
use simulators::{Card, Merchant, Message, Reply};
use switch_core::iso87_code;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::script::{Deed, Script, Step};
use super::stage::{BUSY, PATIENCE, Record, Stage, within};
use super::till::Exchange;
use super::words::words;
use crate::Failure;

/// Plays a script on a stage.
pub(super) struct Player<'s> {
    script: &'s Script,
    pub(super) stage: Stage,
    merchants: BTreeMap<&'s str, Merchant>,
    /// By the position of the step.
    played: Vec<Played>,
    /// Messages that terminals sent.
    pub(super) sent: usize,
}

/// What later steps need of one that was played.
#[derive(Default)]
struct Played {
    messages: Vec<Message>,
    /// The first answer, as its bytes.
    answer: Option<Vec<u8>>,
}

/// What came of a step.
#[derive(Default)]
pub(super) struct Outcome {
    /// What was sent and what came back; at least one line.
    pub(super) lines: Vec<Line>,
    /// What the switch then told the issuer on its own.
    pub(super) advices: Vec<Line>,
    /// What is left of the purchase, in minor units.
    pub(super) left: Option<u64>,
    /// What did not come out as scripted.
    pub(super) faults: Vec<String>,
}

/// One message and its answer.
pub(super) struct Line {
    /// Minor units.
    pub(super) amount: Option<u64>,
    /// `0200 → 0210`.
    pub(super) messages: String,
    /// The response code, and what it means.
    pub(super) answer: String,
}

/// What a card has paid, by both books, in minor units.
pub(super) struct Balance {
    /// The masked card.
    pub(super) card: String,
    pub(super) issuer: i64,
    pub(super) ledger: i64,
    /// Held for what is in flight, of what the ledger counts.
    pub(super) pending: u64,
}

impl Balance {
    pub(super) fn agrees(&self) -> bool {
        self.issuer == self.ledger && self.pending == 0
    }
}

impl<'s> Player<'s> {
    pub(super) fn new(script: &'s Script, stage: Stage) -> Player<'s> {
        let merchant = |(name, till): (&'s String, &'s super::script::Till)| {
            let merchant = Merchant::new(
                &format!("{:<8}", till.terminal),
                &format!("{:<15}", till.merchant),
            );
            (name.as_str(), merchant.with_currency(script.money.code()))
        };
        let merchants = script.tills.iter().map(merchant).collect();
        Player {
            script,
            stage,
            merchants,
            played: Vec::new(),
            sent: 0,
        }
    }

    /// The issuer does as it should, until a step says otherwise.
    pub(super) fn begin_chapter(&self) {
        self.stage.issuer.set_rules(Vec::new());
    }

    /// Plays the next step.
    ///
    /// # Errors
    /// Where the stage fails; what comes out otherwise than scripted is in the outcome.
    pub(super) async fn step(&mut self, step: &Step) -> Result<Outcome, Failure> {
        let seen_before = self.stage.seen().len();
        let mut outcome = Outcome::default();
        if let Deed::Restart = step.deed {
            let took = self.stage.restart(step.issuer_does.clone()).await?;
            let answer = format!("ready again after {:.1} s", took.as_secs_f64());
            outcome.lines.push(Line {
                amount: None,
                messages: String::new(),
                answer,
            });
            self.played.push(Played::default());
        } else {
            if let Some(rules) = &step.issuer_does {
                self.stage.issuer.set_rules(rules.clone());
            }
            let messages = self.messages(step);
            let answer = if step.delayed {
                outcome.lines.extend(messages.iter().map(on_its_way));
                None
            } else {
                self.exchange(step, &messages, &mut outcome).await?
            };
            self.played.push(Played { messages, answer });
        }
        self.check_issuer(step, seen_before, &mut outcome).await;
        self.check_left(step, &mut outcome).await?;
        Ok(outcome)
    }

    /// What the step sends.
    fn messages(&self, step: &Step) -> Vec<Message> {
        // Names and positions were checked when the script was read.
        let merchant = |name: &String| &self.merchants[name.as_str()];
        let earlier = |of: &usize| &self.played[*of].messages[0];
        let card = |name: &String| -> &Card { &self.script.cards[name] };
        let make = || match &step.deed {
            Deed::Purchase {
                card: name,
                terminal,
                amount,
            } => merchant(terminal).purchase(card(name), *amount),
            Deed::Refund {
                of,
                card: None,
                terminal,
                amount,
            } => merchant(terminal).refund(earlier(of), *amount),
            Deed::Refund {
                of,
                card: Some(name),
                terminal,
                amount,
            } => merchant(terminal)
                .refund(earlier(of), *amount)
                .set(2, card(name).pan()),
            Deed::Void { of, terminal } => merchant(terminal).void(earlier(of)),
            Deed::Reversal { of, terminal } => merchant(terminal).reversal(earlier(of)),
            Deed::PartialReversal {
                of,
                terminal,
                stays,
            } => merchant(terminal).partial_reversal(earlier(of), *stays),
            Deed::Again { of, amount: None } => earlier(of).clone(),
            Deed::Again {
                of,
                amount: Some(amount),
            } => earlier(of).clone().set(4, format!("{amount:012}")),
            Deed::Repeat { of } => earlier(of).clone().with_mti(earlier(of).mti().as_repeat()),
            Deed::Restart => unreachable!("a restart sends nothing"),
        };
        (0..step.connections).map(|_| make()).collect()
    }

    /// Sends the messages at the same moment and compares the answers; returns the bytes of the first one.
    async fn exchange(
        &mut self,
        step: &Step,
        messages: &[Message],
        outcome: &mut Outcome,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let is_scripted = step
            .expect
            .iter()
            .any(|code| code.as_bytes() == iso87_code(Reason::System));
        let patience = if is_scripted { Duration::ZERO } else { BUSY };
        let mut answers = self.send(messages, patience).await?;
        // In the order in which the script names the codes: which connection was the faster one is chance.
        answers.sort_by_key(|exchange| {
            let code = exchange.reply.as_ref().map(Reply::code);
            let place = step
                .expect
                .iter()
                .position(|expected| Some(expected.as_str()) == code);
            (
                place.unwrap_or(usize::MAX),
                exchange.message.get(11).map(str::to_owned),
            )
        });
        let records = self.stage.records().await?;
        for (exchange, expected) in answers.iter().zip(&step.expect) {
            let line = self.judge(step, expected, exchange, &records, &mut outcome.faults);
            outcome.lines.push(line);
        }
        Ok(answers
            .into_iter()
            .next()
            .and_then(|exchange| exchange.reply)
            .map(|reply| reply.frame().to_vec()))
    }

    /// Sends the messages at the same moment, with this patience where the switch is busy.
    async fn send(
        &mut self,
        messages: &[Message],
        patience: Duration,
    ) -> Result<Vec<Exchange>, Failure> {
        let start = Arc::new(Barrier::new(messages.len()));
        let mut requests = JoinSet::new();
        for (number, message) in messages.iter().enumerate() {
            let (terminal, message, start) = (
                self.stage.terminal(number).await?,
                message.clone(),
                start.clone(),
            );
            requests.spawn(async move {
                start.wait().await;
                Exchange::with(&terminal, message, patience).await
            });
        }
        let exchanges = requests.join_all().await;
        self.sent += exchanges.iter().map(|each| each.times).sum::<usize>();
        Ok(exchanges)
    }

    /// Compares one answer with what the script expects, and puts it into words.
    fn judge(
        &self,
        step: &Step,
        expected: &str,
        Exchange {
            message,
            reply,
            times,
        }: &Exchange,
        records: &[Record],
        faults: &mut Vec<String>,
    ) -> Line {
        let amount = amount_of(message);
        let Some(reply) = reply else {
            faults.push(format!("expected {expected}, and no answer came"));
            let messages = format!("{} → –", message.mti());
            return Line {
                amount,
                messages,
                answer: "no answer".to_owned(),
            };
        };
        let messages = format!("{} → {}", message.mti(), reply.mti());
        let code = reply.code();
        let reason = self.reason(step, message, code, records);
        let mut meaning = words(reason);
        if code != expected {
            faults.push(match step.reason.filter(|_| expected != "00") {
                Some(reason) => format!("expected {expected} ({})", words(reason)),
                None => format!("expected {expected}"),
            });
        } else if let Some(scripted) = step
            .reason
            .filter(|&scripted| code != "00" && scripted != reason)
        {
            faults.push(format!(
                "expected {expected} for another reason: {}",
                words(scripted)
            ));
        }
        if step.same_answer {
            let before = step
                .deed
                .of()
                .and_then(|of| self.played.get(of))
                .and_then(|of| of.answer.as_deref());
            if before == Some(reply.frame()) {
                meaning = "the same answer, byte for byte";
            } else {
                faults.push("expected the same answer, byte for byte".to_owned());
            }
        }
        let answer = match times {
            1 => format!("{code} {meaning}"),
            times => format!("{code} {meaning}, asked {times} times"),
        };
        Line {
            amount,
            messages,
            answer,
        }
    }

    /// Why the switch answered this code: as the ledger has it on record; of what is not recorded, as the code tells.
    fn reason(&self, step: &Step, message: &Message, code: &str, records: &[Record]) -> Reason {
        if code == "00" {
            return Reason::Approved;
        }
        let changed = matches!(
            step.deed,
            Deed::Again {
                amount: Some(_),
                ..
            }
        );
        let record = records
            .iter()
            .find(|record| record.is_of(message) && !changed);
        let recorded = record.and_then(|record| Reason::by_name(record.reason.as_ref()?));
        let has_code = |reason: &Reason| iso87_code(*reason) == code.as_bytes();
        recorded
            .or(step.reason.filter(has_code))
            .or_else(|| Reason::ALL.iter().copied().find(has_code))
            .unwrap_or(Reason::Declined)
    }

    /// Compares what reaches the issuer, which may take a while.
    async fn check_issuer(&self, step: &Step, seen_before: usize, outcome: &mut Outcome) {
        let Some(expected) = &step.issuer_sees else {
            return;
        };
        let new = || -> Vec<Seen> { self.stage.seen().split_off(seen_before) };
        let enough = async || {
            let seen = new();
            (seen.len() >= expected.len()).then_some(seen)
        };
        let seen = within(PATIENCE, enough).await.unwrap_or_else(new);
        let types: Vec<String> = seen.iter().map(|seen| seen.mti().to_string()).collect();
        if types != *expected {
            let list = |types: &[String]| {
                if types.is_empty() {
                    "nothing".to_owned()
                } else {
                    types.join(", ")
                }
            };
            let (expected, saw) = (list(expected), list(&types));
            let fault = format!("expected that the issuer sees {expected}, it saw {saw}");
            outcome.faults.push(fault);
        }
        outcome.advices = seen
            .iter()
            .filter(|seen| seen.mti().class() == 4)
            .map(advice)
            .collect();
    }

    /// Compares what is left of the purchase, which may take a while where the issuer must confirm first.
    async fn check_left(&self, step: &Step, outcome: &mut Outcome) -> Result<(), Failure> {
        let original = step
            .original
            .and_then(|original| self.played.get(original)?.messages.first());
        let Some(original) = original else {
            return Ok(());
        };
        let mut present = Ok(None);
        let as_scripted = async || {
            present = self
                .stage
                .records()
                .await
                .map(|records| left_of(&records, original));
            let done = match &present {
                Ok(left) => step.left.is_none() || *left == step.left,
                Err(_) => true,
            };
            done.then_some(())
        };
        let _ = within(PATIENCE, as_scripted).await;
        outcome.left = present?;
        if let Some(expected) = step.left.filter(|_| step.left != outcome.left) {
            outcome.faults.push(format!(
                "expected {} left",
                self.script.money.show(expected as i64)
            ));
        }
        Ok(())
    }

    /// What each card has paid, by the issuer's books and by the ledger, once nothing is under way any more.
    ///
    /// # Errors
    /// Where the ledger cannot be asked.
    pub(super) async fn balances(&self) -> Result<Vec<Balance>, Failure> {
        let mut present = Ok(Vec::new());
        let equal = async || {
            present = self
                .stage
                .records()
                .await
                .map(|records| self.compare(&records));
            let done = match &present {
                Ok(balances) => balances.iter().all(Balance::agrees),
                Err(_) => true,
            };
            done.then_some(())
        };
        let _ = within(PATIENCE, equal).await;
        present
    }

    fn compare(&self, records: &[Record]) -> Vec<Balance> {
        let books = self.stage.issuer.books();
        let purchases = || self.played.iter().flat_map(|played| &played.messages);
        let card_of = |record: &Record| {
            purchases()
                .find(|message| record.is_of(message))
                .and_then(|message| message.get(2))
        };
        let originals = || records.iter().filter(|record| record.left.is_some());
        let balance = |card: Option<&str>| {
            let of_card = || originals().filter(move |record| card_of(record) == card);
            Balance {
                card: card.map_or_else(
                    || "no card of the day".to_owned(),
                    |pan| mask(pan.as_bytes()).to_string(),
                ),
                issuer: card.map_or(0, |pan| books.net(pan)),
                ledger: of_card()
                    .map(|record| {
                        record.approved as i64
                            - (record.settled + record.pending + record.taken) as i64
                    })
                    .sum(),
                pending: of_card().map(|record| record.pending).sum(),
            }
        };
        let used = |pan: &&str| {
            books.card(pan) != CardTotals::default()
                || originals().any(|record| card_of(record) == Some(*pan))
        };
        let cards = self
            .script
            .cards
            .values()
            .map(Card::pan)
            .filter(used)
            .map(Some);
        // What the ledger holds of a purchase that nobody made would show here.
        let stray = originals()
            .any(|record| card_of(record).is_none())
            .then_some(None);
        cards.chain(stray).map(balance).collect()
    }
}

fn left_of(records: &[Record], original: &Message) -> Option<u64> {
    records
        .iter()
        .find(|record| record.is_of(original) && record.left.is_some())?
        .left
}

fn on_its_way(message: &Message) -> Line {
    let messages = format!("{} → –", message.mti());
    Line {
        amount: amount_of(message),
        messages,
        answer: "not arrived yet".to_owned(),
    }
}

fn advice(seen: &Seen) -> Line {
    let amount = amount_of(&seen.message);
    match seen.code {
        Some(code) => Line {
            amount,
            messages: format!("{} → {}", seen.mti(), seen.mti().response()),
            answer: format!("{} from the issuer", String::from_utf8_lossy(&code)),
        },
        None => Line {
            amount,
            messages: format!("{} → –", seen.mti()),
            answer: "the issuer is silent".to_owned(),
        },
    }
}

/// The amount that a message is about, in minor units: of a partial reversal, what stays.
fn amount_of(message: &Message) -> Option<u64> {
    let stays = message.get(95).and_then(|amounts| amounts.get(..12));
    stays.or(message.get(4))?.parse().ok()
}
