//! The effective configuration as TOML, every key said.

use std::fmt::{Display, Write};
use std::path::Path;
use std::time::Duration;

use iso8583_codec::Spec;
use iso8583_framing::{Columns, Framing};

use super::{
    Config, Engine, IssuerLink, Listen, Postgres, Unreferenced, UrlSource, VoidAs, format_bytes,
    format_duration,
};
use crate::spec_file::SpecFile;

/// Every key of every table, in the order of the documentation.
pub(super) fn to_toml(config: &Config) -> String {
    let mut out = Page::default();
    out.table("[node]");
    out.string("name", &config.node.name);
    out.string("acquirer_id", &config.node.acquirer_id);
    out.path("data_dir", &config.node.data_dir);
    out.duration("drain_timeout", config.node.drain_timeout);
    out.duration("max_wait", config.node.max_wait);
    out.duration("duplicate_window", config.node.duplicate_window);
    for listen in &config.listen {
        show_listen(&mut out, listen);
    }
    for issuer in &config.issuer {
        show_issuer(&mut out, issuer);
    }
    out.table("[ledger]");
    let engine = match config.ledger.engine {
        Engine::Embedded => "embedded",
        Engine::Postgres(_) => "postgres",
    };
    out.string("engine", engine);
    out.string("memory", format_bytes(config.ledger.memory));
    if let Engine::Postgres(postgres) = &config.ledger.engine {
        show_postgres(&mut out, postgres);
    }
    out.table("[secrets]");
    out.path("key_file", &config.secrets.key_file);
    out.table("[refund]");
    out.duration("window", config.refund.window);
    let unreferenced = match config.refund.unreferenced {
        Unreferenced::Decline => "decline",
        Unreferenced::Allow => "allow",
    };
    out.string("unreferenced", unreferenced);
    out.bare("same_card", config.refund.same_card);
    out.bare("store_and_forward", config.refund.store_and_forward);
    out.table("[saf]");
    out.duration("retry_interval", config.saf.retry_interval);
    out.duration("max_interval", config.saf.max_interval);
    out.duration("max_age", config.saf.max_age);
    out.table("[admin]");
    out.string("address", &config.admin.address);
    out.text
}

/// The URL's password is not shown.
fn show_postgres(out: &mut Page, postgres: &Postgres) {
    out.table("[ledger.postgres]");
    match &postgres.source {
        UrlSource::Configuration => out.string("url", &postgres.url),
        UrlSource::File(file) => {
            let shown = quoted(&file.display().to_string());
            out.bare("url_file", format_args!("{shown} # {}", postgres.url));
        }
        UrlSource::Environment => {
            let _ = writeln!(out.text, "# url = REFUNDRY_POSTGRES_URL: {}", postgres.url);
        }
    }
    out.bare("connections", postgres.connections);
    out.bare("batch", postgres.batch);
    out.duration("lease", postgres.lease);
    out.duration("wait", postgres.wait);
}

fn show_listen(out: &mut Page, listen: &Listen) {
    out.table("[[listen]]");
    out.string("name", &listen.name);
    out.string("address", &listen.address);
    out.dialect(listen.dialect, listen.spec_file);
    out.framing(&listen.framing);
    out.string("realm", &listen.realm);
    out.bare("max_frame", listen.max_frame);
    out.duration("idle_timeout", listen.idle_timeout);
    out.bare("max_connections", listen.max_connections);
    if !listen.response_codes.is_empty() {
        out.table("[listen.response_codes]");
        for chosen in &listen.response_codes {
            out.string(chosen.reason.name(), chosen.code);
        }
    }
}

fn show_issuer(out: &mut Page, issuer: &IssuerLink) {
    out.table("[[issuer]]");
    out.string("name", &issuer.name);
    out.string("address", &issuer.address);
    out.dialect(issuer.dialect, issuer.spec_file);
    out.framing(&issuer.framing);
    out.strings("bins", &issuer.bins);
    out.bare("connections", issuer.connections);
    out.duration("response_timeout", issuer.response_timeout);
    out.duration("reconnect_min", issuer.reconnect_min);
    out.duration("reconnect_max", issuer.reconnect_max);
    out.duration("echo_interval", issuer.echo_interval);
    out.bare("sign_on", issuer.sign_on);
    out.strings("approved", &issuer.approved);
    out.strings("reversal_done", &issuer.reversal_done);
    let void_as = match issuer.void_as {
        VoidAs::Request => "request",
        VoidAs::Reversal => "reversal",
    };
    out.string("void_as", void_as);
}

/// The text being written. Writing into a `String` cannot fail, so results are dropped.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn table(&mut self, head: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.text, "{gap}{head}");
    }

    fn bare(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.text, "{key} = {value}");
    }

    fn string(&mut self, key: &str, value: impl Display) {
        let value = quoted(&value.to_string());
        self.bare(key, value);
    }

    fn strings<T: Display>(&mut self, key: &str, values: &[T]) {
        let values: Vec<String> = values
            .iter()
            .map(|value| quoted(&value.to_string()))
            .collect();
        self.bare(key, format_args!("[{}]", values.join(", ")));
    }

    /// The name of a built-in dialect, or the file of another one.
    fn dialect(&mut self, dialect: &Spec, file: Option<&SpecFile>) {
        match file {
            Some(file) => self.path("spec", file.path()),
            None => self.string("dialect", dialect.name()),
        }
    }

    /// The preset's name or the columns, and what they mean.
    fn framing(&mut self, framing: &Framing) {
        let written = match Framing::by_name(framing.name()) {
            Some(preset) => quoted(preset.name()),
            None => columns(&framing.columns()),
        };
        self.bare("framing", format_args!("{written} # {framing}"));
    }

    fn duration(&mut self, key: &str, value: Duration) {
        self.string(key, format_duration(value));
    }

    fn path(&mut self, key: &str, value: &Path) {
        self.string(key, value.display());
    }
}

/// The columns of a framing as an inline table: the length, and what is not as in `len2`.
fn columns(columns: &Columns) -> String {
    let plain = Framing::LEN2.columns();
    let mut out = format!(
        "length = \"{}\", width = {}",
        columns.length.name(),
        columns.width
    );
    let mut differing = |differs: bool, key: &str, value: &dyn Display| {
        if differs {
            let _ = write!(out, ", {key} = {value}");
        }
    };
    let (itself, trailer, more) = (
        columns.counts_itself,
        columns.counts_trailer,
        columns.counts_more,
    );
    differing(itself, "counts_itself", &itself);
    differing(!trailer, "counts_trailer", &trailer);
    differing(more != 0, "counts_more", &more);
    for (key, bytes) in [
        ("before", columns.before),
        ("after", columns.after),
        ("trailer", columns.trailer),
    ] {
        differing(!bytes.is_empty(), key, &format_args!("\"{bytes}\""));
    }
    differing(!columns.check_fixed, "check_fixed", &columns.check_fixed);
    if let Some(tpdu) = columns.tpdu {
        differing(true, "tpdu", &format_args!("\"{tpdu}\""));
    }
    differing(!columns.tpdu_swap, "tpdu_swap", &columns.tpdu_swap);
    let form = columns.form.name();
    differing(
        columns.form != plain.form,
        "form",
        &format_args!("\"{form}\""),
    );
    let error = !columns.zero_is_keep_alive;
    differing(error, "zero_length", &"\"error\"");
    if let Some(longest) = columns.longest {
        differing(true, "longest", &longest);
    }
    format!("{{ {out} }}")
}

/// A basic TOML string. Control characters cannot stand in it as they are.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}
