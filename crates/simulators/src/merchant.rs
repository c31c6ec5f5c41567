//! What a merchant's terminal sends.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use iso8583_codec::{Mti, OriginalData, Stan, TransmissionTime, mask};

use crate::Message;
use crate::clock::Moment;

/// STANs begin anew after this one.
const STAN_MAX: u32 = 999_999;

/// Where the STANs of the next terminal of this process begin, so that several in one test do not run alike.
static NEXT_FIRST_STAN: AtomicU32 = AtomicU32::new(1);

/// A card: its number and what stands beside it. `Debug` masks the number.
#[derive(Clone, PartialEq, Eq)]
pub struct Card {
    pan: String,
    expiry: String,
}

impl Card {
    /// A card of this number, good until the end of 2030.
    #[must_use]
    pub fn new(pan: &str) -> Card {
        Card {
            pan: pan.to_owned(),
            expiry: "3012".to_owned(),
        }
    }

    /// A published Visa test card.
    #[must_use]
    pub fn visa() -> Card {
        Card::new("4761739001010119")
    }

    /// A published Mastercard test card.
    #[must_use]
    pub fn mastercard() -> Card {
        Card::new("5413330089010012")
    }

    /// A published UnionPay test card, of nineteen digits.
    #[must_use]
    pub fn unionpay() -> Card {
        Card::new("6222021234567890128")
    }

    /// The card number.
    #[must_use]
    pub fn pan(&self) -> &str {
        &self.pan
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Card({})", mask(self.pan.as_bytes()))
    }
}

/// A terminal of a merchant, making messages with its own STANs and the present time in DE7.
///
/// Messages about an earlier one take the request that this terminal (or another one) sent, not its answer: it names the
/// original by MTI, STAN and DE7 in DE90.
#[derive(Debug)]
pub struct Merchant {
    terminal: String,
    merchant: String,
    currency: String,
    stan: AtomicU32,
}

impl Merchant {
    /// A terminal by DE41 (8 characters) of a card acceptor by DE42 (15 characters), selling in yuan.
    #[must_use]
    pub fn new(terminal: &str, merchant: &str) -> Merchant {
        let first = NEXT_FIRST_STAN.fetch_add(10_000, Ordering::Relaxed);
        Merchant {
            terminal: terminal.to_owned(),
            merchant: merchant.to_owned(),
            currency: "156".to_owned(),
            stan: AtomicU32::new(first % STAN_MAX),
        }
    }

    /// The same with this as the next STAN.
    #[must_use]
    pub fn with_stan(self, stan: u32) -> Merchant {
        Merchant {
            stan: AtomicU32::new(stan),
            ..self
        }
    }

    /// The same, selling in this currency (ISO 4217, three digits).
    #[must_use]
    pub fn with_currency(self, currency: &str) -> Merchant {
        Merchant {
            currency: currency.to_owned(),
            ..self
        }
    }

    /// A purchase of `amount` minor units.
    #[must_use]
    pub fn purchase(&self, card: &Card, amount: u64) -> Message {
        self.sale("0200", "000000", card, amount)
    }

    /// A pre-authorisation of `amount` minor units.
    #[must_use]
    pub fn preauthorisation(&self, card: &Card, amount: u64) -> Message {
        self.sale("0100", "000000", card, amount)
    }

    /// A refund of `amount` minor units that names no original.
    #[must_use]
    pub fn unreferenced_refund(&self, card: &Card, amount: u64) -> Message {
        self.sale("0200", "200000", card, amount)
    }

    /// A refund of `amount` minor units of the purchase `of`, named by DE90.
    #[must_use]
    pub fn refund(&self, of: &Message, amount: u64) -> Message {
        self.about(of, "0200", "200000")
            .set(4, amount_digits(amount))
            .set(90, original_data(of))
    }

    /// A refund of `amount` minor units of the purchase `of`, named by its retrieval reference number in DE37.
    #[must_use]
    pub fn refund_by_rrn(&self, of: &Message, rrn: &str, amount: u64) -> Message {
        self.about(of, "0200", "200000")
            .set(4, amount_digits(amount))
            .set(37, rrn)
    }

    /// A refund advice (`0220`) of `amount` minor units of the purchase `of`.
    #[must_use]
    pub fn refund_advice(&self, of: &Message, amount: u64) -> Message {
        self.refund(of, amount).with_mti(Mti::literal("0220"))
    }

    /// A void of the purchase or refund `of`, with its whole amount.
    #[must_use]
    pub fn void(&self, of: &Message) -> Message {
        let is_refund = of.get(3).is_some_and(|code| code.starts_with("20"));
        self.about(of, "0200", if is_refund { "220000" } else { "020000" })
            .set(90, original_data(of))
    }

    /// A reversal request (`0400`) of `of`.
    #[must_use]
    pub fn reversal(&self, of: &Message) -> Message {
        let processing_code = of.get(3).unwrap_or("000000");
        self.about(of, "0400", processing_code)
            .set(90, original_data(of))
    }

    /// A reversal advice (`0420`) of `of`.
    #[must_use]
    pub fn reversal_advice(&self, of: &Message) -> Message {
        self.reversal(of).with_mti(Mti::literal("0420"))
    }

    /// A partial reversal (`0400`) of `of`, after which `stays` minor units stand (DE95).
    #[must_use]
    pub fn partial_reversal(&self, of: &Message, stays: u64) -> Message {
        self.reversal(of)
            .set(95, format!("{stays:012}{:012}C00000000C00000000", 0))
    }

    /// The same message once more, as a terminal repeats it: only the MTI says so.
    #[must_use]
    pub fn repeat(&self, of: &Message) -> Message {
        of.clone().with_mti(of.mti().as_repeat())
    }

    /// A network message (`0800`) with this DE70: `001` sign on, `002` sign off, `301` echo.
    #[must_use]
    pub fn network(&self, code: &str) -> Message {
        let (stan, moment) = (self.next_stan(), Moment::now());
        Message::new("0800")
            .set(7, moment.month_to_second())
            .set(11, stan)
            .set(70, code)
    }

    fn sale(&self, mti: &str, processing_code: &str, card: &Card, amount: u64) -> Message {
        self.message(mti, processing_code)
            .set(2, &card.pan)
            .set(4, amount_digits(amount))
            .set(14, &card.expiry)
            .set(18, "5411")
            .set(22, "051")
            .set(25, "00")
            .set(49, &self.currency)
    }

    /// A message about `of`: its card, amount and currency, but this terminal's own numbers.
    fn about(&self, of: &Message, mti: &str, processing_code: &str) -> Message {
        let message = self.message(mti, processing_code);
        [2, 4, 14, 18, 22, 25, 49]
            .into_iter()
            .fold(message, |message, de| match of.bytes(de) {
                Some(value) => message.set(de, value),
                None => message,
            })
    }

    fn message(&self, mti: &str, processing_code: &str) -> Message {
        let time = Moment::now().month_to_second();
        let (date, clock) = time.split_at(4);
        Message::new(mti)
            .set(3, processing_code)
            .set(7, &time)
            .set(11, self.next_stan())
            .set(12, clock)
            .set(13, date)
            .set(41, &self.terminal)
            .set(42, &self.merchant)
    }

    /// 1 to 999,999, then from 1 again.
    fn next_stan(&self) -> String {
        let stan = self.stan.fetch_add(1, Ordering::Relaxed);
        format!("{:06}", (stan.max(1) - 1) % STAN_MAX + 1)
    }
}

fn amount_digits(amount: u64) -> String {
    format!("{amount:012}")
}

/// DE90 that names `of` by MTI, STAN and DE7; what `of` lacks stays zero, as "not given".
fn original_data(of: &Message) -> [u8; 42] {
    let number = |de: u8| of.get(de).and_then(|digits| digits.parse().ok());
    OriginalData {
        mti: Some(of.mti().without_repeat()),
        stan: number(11).and_then(|stan: u64| Stan::new(u32::try_from(stan).ok()?)),
        time: number(7).and_then(TransmissionTime::new),
        acquirer: None,
        forwarder: None,
    }
    .to_digits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stans_wrap_past_the_last_one() {
        let merchant = Merchant::new("TERM0001", "MERCHANT0000001").with_stan(STAN_MAX);
        let stans: Vec<String> = (0..2)
            .map(|_| merchant.network("301").get(11).unwrap().to_owned())
            .collect();
        assert_eq!(stans, ["999999", "000001"]);
    }

    #[test]
    fn messages_about_an_original_name_it() {
        let merchant = Merchant::new("TERM0001", "MERCHANT0000001");
        let purchase = merchant.purchase(&Card::visa(), 12_345);
        let named = format!(
            "0200{}{}{:022}",
            purchase.get(11).unwrap(),
            purchase.get(7).unwrap(),
            0
        );
        let refund = merchant.refund(&merchant.repeat(&purchase), 100);
        for (message, mti, processing_code, amount) in [
            (&refund, "0200", "200000", "000000000100"),
            (&merchant.void(&purchase), "0200", "020000", "000000012345"),
            (
                &merchant.reversal(&purchase),
                "0400",
                "000000",
                "000000012345",
            ),
            (
                &merchant.reversal_advice(&purchase),
                "0420",
                "000000",
                "000000012345",
            ),
        ] {
            assert_eq!(message.mti().to_string(), mti);
            assert_eq!(message.get(3), Some(processing_code));
            assert_eq!(message.get(4), Some(amount));
            assert_eq!(message.get(90), Some(named.as_str()));
            assert_eq!(message.get(2), purchase.get(2));
            assert_ne!(message.get(11), purchase.get(11));
        }
        assert_eq!(merchant.void(&refund).get(3), Some("220000"));
        assert_eq!(merchant.repeat(&purchase).mti().to_string(), "0201");
        assert_eq!(
            merchant
                .partial_reversal(&purchase, 10_000)
                .get(95)
                .map(str::len),
            Some(42)
        );
    }
}
