//! The one statement that commits a batch.
//!
//! It is put together from a part per table that the batch writes, each part a row set of its own; most batches need three or four
//! of them. In the end it compares how many rows each part met with how many there should be and divides by zero where they differ,
//! which undoes all of it: so nothing is stored of a batch in which one version is not as expected, in one round trip and
//! without a procedure.

use std::fmt::Write;

use crate::columns::{Columns, Param, unnest};
use crate::nodes::PART;
use crate::rows::{
    AdvicesChanged, AdvicesDone, AdvicesMade, Changed, Closed, Created, Events, Merchants, Numbers,
    Opened, Writes,
};

/// Which parts a statement has, a bit each.
pub(crate) type Shape = u16;

/// Parameters that every statement has: writer, lane, epoch, batch, at.
const COMMON: usize = 5;

/// Whose batch it is.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Stamp {
    pub(crate) writer: i64,
    pub(crate) lane: i16,
    pub(crate) epoch: i32,
    pub(crate) batch: i64,
}

struct Part {
    name: &'static str,
    /// What is done with the rows; `{rows}` is the row set.
    sql: String,
    /// Every row must meet one of the table.
    counted: bool,
}

impl Writes {
    fn lengths(&self) -> [usize; 11] {
        [
            self.merchants.len(),
            self.created.len(),
            self.replaced.len(),
            self.changed.len(),
            self.opened.len(),
            self.closed.len(),
            self.advices_made.len(),
            self.advices_changed.len(),
            self.advices_done.len(),
            self.numbers.len(),
            self.events.len(),
        ]
    }

    /// Which statement this takes.
    pub(crate) fn shape(&self) -> Shape {
        let lengths = self.lengths();
        let bits = lengths
            .iter()
            .zip(0u32..)
            .filter(|(length, _)| **length > 0);
        bits.fold(0, |shape, (_, bit)| shape | 1 << bit)
    }

    /// The statement's parameters; `stamp` and `at` come first.
    pub(crate) fn params<'a>(&'a self, stamp: &'a Stamp) -> Vec<Param<'a>> {
        let mut params: Vec<Param<'a>> = vec![
            &stamp.writer,
            &stamp.lane,
            &stamp.epoch,
            &stamp.batch,
            &self.at,
        ];
        let mut add = |columns: &'a dyn Parameters| columns.add(&mut params);
        add(&self.merchants);
        add(&self.created);
        add(&self.replaced);
        add(&self.changed);
        add(&self.opened);
        add(&self.closed);
        add(&self.advices_made);
        add(&self.advices_changed);
        add(&self.advices_done);
        add(&self.numbers);
        add(&self.events);
        params
    }
}

/// The parameters of columns that are not empty.
trait Parameters {
    fn add<'a>(&'a self, params: &mut Vec<Param<'a>>);
}

impl<C: Columns> Parameters for C {
    fn add<'a>(&'a self, params: &mut Vec<Param<'a>>) {
        if self.len() > 0 {
            self.params(params);
        }
    }
}

/// The statement of a shape.
pub(crate) fn sql(shape: Shape) -> String {
    let mut statement = String::from(
        "WITH lane AS (UPDATE lanes SET batch = $4::int8, at = greatest(at, $5::int8) \
         WHERE writer = $1::int8 AND lane = $2::int2 AND epoch = $3::int4 AND batch < $4::int8 RETURNING 1)",
    );
    let mut check = String::from("(SELECT count(*) FROM lane) = 1");
    let mut first = COMMON.saturating_add(1);
    for (part, rows, columns) in parts(shape) {
        let rows = rows(first);
        let sql = part.sql.replace("{rows}", &rows);
        // Writing to a string cannot fail.
        let _ = write!(statement, ", {} AS ({sql} RETURNING 1)", part.name);
        if part.counted {
            let _ = write!(
                check,
                " AND (SELECT count(*) FROM {}) = cardinality(${first}::int8[])",
                part.name
            );
        }
        first = first.saturating_add(columns);
    }
    let _ = write!(statement, " SELECT 1 / ({check})::int4");
    statement
}

type Rows = fn(usize) -> String;

/// The parts of a shape: what they do, their row set, how many parameters it has.
fn parts(shape: Shape) -> Vec<(Part, Rows, usize)> {
    let all: [(Part, Rows, usize); 11] = [
        part::<Merchants>("known", insert::<Merchants>("merchants", &[], &[], " ON CONFLICT DO NOTHING"), false),
        part::<Created>("created", insert::<Created>("transactions", &["expected"], &[], ""), true),
        part::<Created>("replaced", update::<Created>("transactions", &["merchant", "key"], &[]), true),
        part::<Changed>("changed", update::<Changed>("transactions", &["merchant", "key"], &[]), true),
        part::<Opened>(
            "opened",
            "INSERT INTO open_transactions AS t (merchant, key, writer, until) \
             SELECT i.merchant, i.key, $1::int8, i.until FROM {rows} \
             ON CONFLICT (merchant, key) DO UPDATE SET until = excluded.until"
                .into(),
            true,
        ),
        part::<Closed>(
            "closed",
            "DELETE FROM open_transactions t USING {rows} WHERE t.merchant = i.merchant AND t.key = i.key".into(),
            false,
        ),
        part::<AdvicesMade>("advices_made", insert::<AdvicesMade>("advices", &[], &[WRITER], ""), true),
        part::<AdvicesChanged>(
            "advices_changed",
            update::<AdvicesChanged>("advices", &["merchant", "key", "ordinal"], &[WRITER]),
            true,
        ),
        part::<AdvicesDone>(
            "advices_done",
            "DELETE FROM advices t USING {rows} WHERE t.merchant = i.merchant AND t.key = i.key \
             AND t.ordinal = i.ordinal AND t.version = i.expected"
                .into(),
            true,
        ),
        part::<Numbers>(
            "numbers",
            "INSERT INTO link_numbers AS t (writer, lane, link, number, stan, de7) \
             SELECT $1::int8, $2::int2, i.link, i.number, i.stan, i.de7 FROM {rows} \
             ON CONFLICT (writer, lane, link) DO UPDATE \
             SET number = excluded.number, stan = excluded.stan, de7 = excluded.de7 \
             WHERE (excluded.stan - t.stan + {part}) % {part} BETWEEN 1 AND {half}"
                .replace("{part}", &PART.to_string())
                .replace("{half}", &(PART / 2).to_string()),
            false,
        ),
        part::<Events>(
            "happened",
            "INSERT INTO events (merchant, at, writer, number, cause, key, event) \
             SELECT i.merchant, i.at, $1::int8, i.number, i.cause, i.key, i.event FROM {rows}"
                .into(),
            true,
        ),
    ];
    let chosen = all.into_iter().zip(0u32..);
    chosen
        .filter(|(_, bit)| shape >> bit & 1 == 1)
        .map(|(part, _)| part)
        .collect()
}

fn part<C: Columns>(name: &'static str, sql: String, counted: bool) -> (Part, Rows, usize) {
    (Part { name, sql, counted }, unnest::<C>, C::NAMES.len())
}

/// A column that says whose the row is.
const WRITER: (&str, &str) = ("writer", "$1::int8");

/// All columns but `without` into a table, and `more` with their values.
fn insert<C: Columns>(table: &str, without: &[&str], more: &[(&str, &str)], end: &str) -> String {
    let own = C::NAMES.iter().filter(|name| !without.contains(name));
    let own = own.map(|name| (*name, format!("i.{name}")));
    let more = more
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    let (names, values): (Vec<&str>, Vec<String>) = own.chain(more).unzip();
    format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {{rows}}{end}",
        names.join(", "),
        values.join(", ")
    )
}

/// All columns but the `key` set in a table, and `more`, where the version is as expected.
fn update<C: Columns>(table: &str, key: &[&str], more: &[(&str, &str)]) -> String {
    let own = C::NAMES
        .iter()
        .filter(|name| !key.contains(name) && **name != "expected");
    let own = own.map(|name| format!("{name} = i.{name}"));
    let more = more.iter().map(|(name, value)| format!("{name} = {value}"));
    let set: Vec<String> = own.chain(more).collect();
    let is: Vec<String> = key
        .iter()
        .map(|name| format!("t.{name} = i.{name}"))
        .collect();
    format!(
        "UPDATE {table} t SET {} FROM {{rows}} WHERE {} AND t.version = i.expected",
        set.join(", "),
        is.join(" AND ")
    )
}
