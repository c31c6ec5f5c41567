//! Issuer host and terminals for tests, trials and the demo.
//!
//! - [`issuer`]: an issuer host over TCP that approves, declines, delays, loses and spoils answers by [`issuer::Rule`], and keeps
//!   its own [`issuer::Books`] of what it executed, so that a test can compare them with what the switch believes.
//! - [`Terminal`]: a client that sends and receives messages, matching answers to requests.
//! - [`load`]: many terminals at once, as many messages as go, every answer checked; [`processor`]: what that cost.
//! - [`Message`], [`Card`] and [`Merchant`]: messages as a merchant's terminal would make them, with STAN and DE7 of their own.
//!
//! Nothing here knows the switch or its ledger: what the simulators say is evidence of its own. Command-line arguments are
//! not read here; a rule is [`FromStr`](std::str::FromStr).
//!
//! ```
//! use iso8583_codec::Spec;
//! use iso8583_framing::Framing;
//! use simulators::issuer::{Issuer, IssuerConfig};
//! use simulators::{Card, Merchant, Terminal};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let mut config = IssuerConfig::new(Spec::iso87_ascii(), Framing::LEN2);
//! config.rules = vec!["amount=5100: decline 51".parse()?];
//! let issuer = Issuer::start(config).await?;
//!
//! let terminal = Terminal::connect(issuer.address(), Spec::iso87_ascii(), Framing::LEN2).await?;
//! let merchant = Merchant::new("TERM0001", "MERCHANT0000001");
//! let card = Card::visa();
//! let purchase = merchant.purchase(&card, 10_000);
//! assert_eq!(terminal.request(&purchase).await.expect("an answer").code(), "00");
//! let refused = merchant.purchase(&card, 5_100);
//! assert_eq!(terminal.request(&refused).await.expect("an answer").code(), "51");
//!
//! assert_eq!(issuer.books().net(card.pan()), 10_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clock;
pub mod issuer;
pub mod load;
mod merchant;
mod message;
pub mod processor;
mod shape;
mod terminal;

pub use merchant::{Card, Merchant};
pub use message::Message;
pub use terminal::{Reply, Terminal};

/// Bytes of the longest message that a simulator reads or writes.
pub const MESSAGE_BYTES_MAX: usize = 9_999;
