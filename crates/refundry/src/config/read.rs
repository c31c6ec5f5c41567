//! From the TOML document to the typed configuration: the whole, and what only several keys together can get wrong.

use std::path::Path;

use toml::de::DeTable;

use super::document::{Document, Section};
use super::{Admin, Config, ConfigError, Engine, IssuerLink, Ledger, Listen, Secrets, files};

pub(super) mod framing;
mod ledger;
mod parts;
mod rules;

/// Reads the text of `file`. Every problem is reported, not only the first.
pub(super) fn config(text: &str, file: &Path) -> Result<Config, ConfigError> {
    let document = Document::new(text);
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let message = error.message().trim().replace('\n', "; ");
            let offset = error.span().map(|span| span.start);
            document.problem(offset, "", format!("is not TOML: {message}"));
            return Err(ConfigError::new(file, document.into_problems()));
        }
    };
    // Full paths: they mean the same wherever the effective configuration is read again.
    let place = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let folder = place.parent().unwrap_or(Path::new("/"));
    let config = whole(&Section::root(&document, table.get_ref()), folder);
    let problems = document.into_problems();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ConfigError::new(file, problems)),
    }
}

/// Every part, then the rules between parts. `None` always comes with a problem reported.
fn whole(root: &Section<'_>, folder: &Path) -> Option<Config> {
    let listen_sections = root.sections("listen");
    let issuer_sections = root.sections("issuer");
    let secrets_section = root.section("secrets");
    let admin_section = root.section("admin");

    let node_section = root.section("node");
    let node = parts::node(&node_section, folder);
    let listen: Vec<_> = listen_sections
        .iter()
        .map(|section| parts::listen(section, folder))
        .collect();
    let issuer: Vec<_> = issuer_sections
        .iter()
        .map(|section| parts::issuer(section, folder))
        .collect();
    let ledger = ledger::ledger(&root.section("ledger"), folder);
    let key_file = parts::key_file(&secrets_section, folder);
    let refund = parts::refund(&root.section("refund"));
    let saf = parts::saf(&root.section("saf"));
    let admin_address = parts::admin_address(&admin_section);
    root.not_in_this_version(&["limits", "approvals", "webhooks", "console", "mac"]);
    root.finish();

    at_least_one(root, "listen", "an address that terminals connect to");
    at_least_one(root, "issuer", "a host that transactions are sent to");
    unique_names(&listen_sections, "listener", &listen, |listen| &listen.name);
    unique_names(&issuer_sections, "issuer", &issuer, |issuer| &issuer.name);
    unique_addresses(
        &listen_sections,
        &listen,
        &admin_section,
        admin_address.as_ref(),
    );
    unambiguous_bins(&issuer_sections, &issuer);
    let is_shared = |ledger: &Ledger| matches!(ledger.engine, Engine::Postgres(_));
    if ledger.as_ref().is_some_and(is_shared) && !node_section.has("name") {
        node_section.problem(
            "name",
            "is missing; expected a name of its own for each node on one database: of two of one name, the one that \
             comes later shuts out the earlier one",
        );
    }
    if let (Some(node), Some(key_file)) = (&node, &key_file)
        && files::is_inside(key_file, &node.data_dir)
    {
        secrets_section.problem(
            "key_file",
            "expected a file outside node.data_dir: whoever copies the ledger must not get its keys with it",
        );
    }
    Some(Config {
        node: node?,
        listen: listen.into_iter().collect::<Option<_>>()?,
        issuer: issuer.into_iter().collect::<Option<_>>()?,
        ledger: ledger?,
        secrets: Secrets {
            key_file: key_file?,
        },
        refund: refund?,
        saf: saf?,
        admin: Admin {
            address: admin_address?,
        },
    })
}

/// A switch without a listener or an issuer does nothing; the person who wrote such a file meant something else.
fn at_least_one(root: &Section<'_>, key: &str, what: &str) {
    if root.is_empty_array(key) {
        root.problem(key, format!("expected at least one [[{key}]], {what}"));
    }
}

/// Names are labels of metrics and, of issuers, references in the ledger.
fn unique_names<T>(
    sections: &[Section<'_>],
    what: &str,
    read: &[Option<T>],
    name: impl Fn(&T) -> &String,
) {
    let mut seen: Vec<&String> = Vec::new();
    for (section, item) in sections.iter().zip(read) {
        let Some(name) = item.as_ref().map(&name) else {
            continue;
        };
        if seen.contains(&name) {
            section.problem(
                "name",
                format!("expected a name of its own; another {what} is called \"{name}\" too"),
            );
        }
        seen.push(name);
    }
}

/// Two sockets cannot listen on one address; port 0 takes a free one each time.
fn unique_addresses(
    sections: &[Section<'_>],
    read: &[Option<Listen>],
    admin_section: &Section<'_>,
    admin: Option<&super::Address>,
) {
    let mut seen = Vec::new();
    let listeners = read
        .iter()
        .map(|listen| listen.as_ref().map(|listen| &listen.address));
    let places = sections
        .iter()
        .zip(listeners)
        .chain([(admin_section, admin)]);
    for (section, address) in places {
        let Some(address) = address.filter(|address| address.port != 0) else {
            continue;
        };
        if seen.contains(&address) {
            section.problem(
                "address",
                format!("expected an address of its own; \"{address}\" is taken above"),
            );
        }
        seen.push(address);
    }
}

/// The longest match decides between ranges of different lengths; between two of one length nothing would.
fn unambiguous_bins(sections: &[Section<'_>], read: &[Option<IssuerLink>]) {
    let mut seen: Vec<(&str, super::BinRange)> = Vec::new();
    for (section, issuer) in sections.iter().zip(read) {
        let Some(issuer) = issuer else {
            continue;
        };
        for &bin in &issuer.bins {
            let other = seen
                .iter()
                .find(|(_, earlier)| earlier.is_ambiguous_with(&bin));
            if let Some((owner, earlier)) = other {
                section.problem(
                    "bins",
                    format!("\"{bin}\" and \"{earlier}\" of issuer \"{owner}\" are as long and overlap; expected each prefix once"),
                );
            }
            seen.push((&issuer.name, bin));
        }
    }
}
