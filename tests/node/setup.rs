//! What a node is to be: its configuration, its folder, its issuers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use iso8583_codec::Spec;
use iso8583_framing::Framing;
use refundry::spec_file::{self, Side};
use simulators::Message;
use simulators::issuer::{Issuer, IssuerConfig, Rule};
use tempfile::TempDir;

use super::{Node, PATH, World};

/// A file among the fixtures.
fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(name)
}

/// A dialect in its frames.
#[derive(Copy, Clone)]
pub(crate) struct Wire {
    pub(crate) spec: &'static Spec,
    pub(crate) framing: Framing,
    /// Among the fixtures, the spec file that the dialect is from.
    pub(crate) file: Option<&'static str>,
}

impl Wire {
    pub(crate) fn ascii() -> Wire {
        Wire {
            spec: Spec::iso87_ascii(),
            framing: Framing::LEN2,
            file: None,
        }
    }

    pub(crate) fn binary() -> Wire {
        Wire {
            spec: Spec::iso87_binary(),
            framing: Framing::BCD2,
            file: None,
        }
    }

    /// The dialect of a spec file among the fixtures.
    pub(crate) fn of_file(file: &'static str) -> Wire {
        let loaded = spec_file::load(&fixture(file), Side::Listener).unwrap();
        Wire {
            spec: loaded.spec(),
            file: Some(file),
            ..Wire::ascii()
        }
    }

    /// A message in its frame.
    pub(crate) fn frame(&self, message: &Message) -> Vec<u8> {
        self.frame_bytes(&message.encode(self.spec).unwrap())
    }

    /// Bytes behind a frame header that is right for them.
    pub(crate) fn frame_bytes(&self, body: &[u8]) -> Vec<u8> {
        let mut out = bytes::BytesMut::new();
        let mark = self.framing.begin(&mut out);
        out.extend_from_slice(body);
        self.framing.finish(&mut out, mark).unwrap();
        out.to_vec()
    }
}

/// What a node and its issuer are to be, before they are started.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(super) wire: Wire,
    issuer_wire: Wire,
    keys: BTreeMap<String, BTreeMap<String, String>>,
    rules: Vec<String>,
    pub(super) log: &'static str,
    second_bins: Option<&'static str>,
    second_realm: Option<&'static str>,
}

impl Setup {
    /// Terminals and issuer in `iso87-ascii`, and times that suit a test: the issuer has two seconds to answer, which is for ever, and
    /// a machine that stands still for a second is no overload.
    pub(crate) fn new() -> Setup {
        Setup {
            wire: Wire::ascii(),
            issuer_wire: Wire::ascii(),
            keys: BTreeMap::new(),
            rules: Vec::new(),
            log: "info",
            second_bins: None,
            second_realm: None,
        }
        .set("node.drain_timeout", "\"5s\"")
        .set("node.max_wait", "\"30s\"")
        .set("issuer.bins", "[\"4\", \"51-55\", \"62\"]")
        .set("issuer.response_timeout", "\"2s\"")
        .set("issuer.reconnect_min", "\"20ms\"")
        .set("issuer.reconnect_max", "\"100ms\"")
        .set("saf.retry_interval", "\"100ms\"")
        .set("saf.max_interval", "\"400ms\"")
    }

    /// Everything in `iso87-binary`.
    pub(crate) fn binary() -> Setup {
        Setup::new()
            .terminals(Wire::binary())
            .issuers(Wire::binary())
    }

    pub(crate) fn terminals(self, wire: Wire) -> Setup {
        Setup { wire, ..self }
    }

    pub(crate) fn issuers(self, issuer_wire: Wire) -> Setup {
        Setup {
            issuer_wire,
            ..self
        }
    }

    /// A key as `section.key`, and its value as TOML.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Setup {
        let (section, key) = key.split_once('.').unwrap();
        self.keys
            .entry(section.to_owned())
            .or_default()
            .insert(key.to_owned(), value.to_owned());
        self
    }

    /// A time within which the issuer must answer.
    pub(crate) fn response_timeout(self, time: &str) -> Setup {
        self.set("issuer.response_timeout", &format!("{time:?}"))
    }

    /// What the issuer does with which message.
    pub(crate) fn rules(self, rules: &[&str]) -> Setup {
        Setup {
            rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
            ..self
        }
    }

    /// What the node logs.
    pub(crate) fn log(self, log: &'static str) -> Setup {
        Setup { log, ..self }
    }

    /// Another issuer, `bank-b`, for these BINs (TOML).
    pub(crate) fn second_issuer(self, bins: &'static str) -> Setup {
        Setup {
            second_bins: Some(bins),
            ..self
        }
    }

    /// Another listener, `pos2`, whose merchants are of this realm.
    pub(crate) fn second_realm(self, realm: &'static str) -> Setup {
        Setup {
            second_realm: Some(realm),
            ..self
        }
    }

    /// The ledger in the database at this URL, for a node of this name.
    pub(crate) fn postgres(self, name: &str, url: &str) -> Setup {
        self.set("node.name", &format!("{name:?}"))
            .set("ledger.engine", "\"postgres\"")
            .set("ledger.postgres.url", &format!("{url:?}"))
    }

    /// A configuration with the issuers of another node.
    pub(crate) fn prepare_beside(self, other: &Site) -> Site {
        self.site(other.issuer.clone(), other.second.clone())
    }

    fn site(self, issuer: Arc<Issuer>, second: Option<Arc<Issuer>>) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let site = Site {
            setup: self,
            issuer,
            second,
            dir,
        };
        std::fs::write(site.config(), site.document()).unwrap();
        site
    }

    /// The issuer and the configuration, and no node yet.
    pub(crate) async fn prepare(self) -> Site {
        let issuer = || async {
            let mut config = IssuerConfig::new(self.issuer_wire.spec, self.issuer_wire.framing);
            config.rules = rules(&self.rules);
            Arc::new(Issuer::start(config).await.unwrap())
        };
        let first = issuer().await;
        let second = match self.second_bins {
            Some(_) => Some(issuer().await),
            None => None,
        };
        self.site(first, second)
    }

    /// A node whose issuer links are up.
    pub(crate) async fn start(self) -> World {
        let site = Arc::new(self.prepare().await);
        let node = site.node();
        let world = World { site, node };
        world.links_up().await;
        world
    }
}

/// Parsed rules of the issuer.
pub(crate) fn rules(texts: &[impl AsRef<str>]) -> Vec<Rule> {
    texts
        .iter()
        .map(|text| text.as_ref().parse().unwrap())
        .collect()
}

/// A folder with a configuration, and the issuers that it names.
pub(crate) struct Site {
    pub(crate) setup: Setup,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) second: Option<Arc<Issuer>>,
    dir: TempDir,
}

impl Site {
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir().join("refundry.toml")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir().join("data")
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.dir().join("refundry.key")
    }

    /// Starts the node on this folder.
    pub(crate) fn node(&self) -> Node {
        Node::start(
            Command::new(PATH)
                .args(["serve", "--config"])
                .arg(self.config()),
            self.setup.log,
        )
    }

    fn document(&self) -> String {
        let setup = &self.setup;
        let mut text = String::new();
        let mut table = |head: &str, section: &str, lines: &[String]| {
            writeln!(text, "{head}").unwrap();
            lines
                .iter()
                .for_each(|line| writeln!(text, "{line}").unwrap());
            let set = setup.keys.get(section).into_iter().flatten();
            let given = |key: &str| {
                lines
                    .iter()
                    .any(|line| line.starts_with(&format!("{key} =")))
            };
            set.filter(|(key, _)| !given(key))
                .for_each(|(key, value)| writeln!(text, "{key} = {value}").unwrap());
        };
        let wire = |wire: &Wire| {
            let dialect = match wire.file {
                Some(file) => format!("spec = {:?}", fixture(file)),
                None => format!("dialect = {:?}", wire.spec.name()),
            };
            [dialect, format!("framing = {:?}", wire.framing.name())]
        };
        let issuer = |name: &str, address: SocketAddr| {
            let head = [
                format!("name = {name:?}"),
                format!("address = \"{address}\""),
            ];
            [head, wire(&setup.issuer_wire)].concat()
        };
        table(
            "[node]",
            "node",
            &[format!("data_dir = {:?}", self.data_dir())],
        );
        let address = "address = \"127.0.0.1:0\"".to_owned();
        let listen = |name: &str| {
            let head = [format!("name = {name:?}"), address.clone()];
            [head, wire(&setup.wire)].concat()
        };
        table("[[listen]]", "listen", &listen("pos"));
        if let Some(realm) = setup.second_realm {
            let lines = [listen("pos2"), vec![format!("realm = {realm:?}")]].concat();
            table("[[listen]]", "listen", &lines);
        }
        table(
            "[[issuer]]",
            "issuer",
            &issuer("bank-a", self.issuer.address()),
        );
        if let (Some(second), Some(bins)) = (&self.second, setup.second_bins) {
            let lines = [
                issuer("bank-b", second.address()),
                vec![format!("bins = {bins}")],
            ]
            .concat();
            table("[[issuer]]", "issuer", &lines);
        }
        for section in ["ledger", "refund", "saf"] {
            table(&format!("[{section}]"), section, &[]);
        }
        table(
            "[secrets]",
            "secrets",
            &[format!("key_file = {:?}", self.key_file())],
        );
        table("[admin]", "admin", std::slice::from_ref(&address));
        text
    }
}
