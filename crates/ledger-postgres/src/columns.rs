//! Rows as one array per column: what a statement unnests.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use refund_ledger::Key;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// A parameter of a statement.
pub(crate) type Param<'a> = &'a (dyn ToSql + Sync);

/// A transaction's key as a `uuid`: sixteen bytes that sort as the keys do.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Id(pub(crate) u128);

impl From<Key> for Id {
    fn from(key: Key) -> Id {
        Id(key.value())
    }
}

impl ToSql for Id {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Id {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Id, Box<dyn Error + Sync + Send>> {
        Ok(Id(u128::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }
}

/// What an array of values is called in SQL.
pub(crate) trait InArray {
    const ARRAY: &'static str;
}

macro_rules! in_array {
    ($($type:ty => $name:literal),+) => { $(impl InArray for $type { const ARRAY: &'static str = $name; })+ };
}

in_array!(
    i16 => "int2[]", i32 => "int4[]", i64 => "int8[]", Option<i64> => "int8[]", Id => "uuid[]",
    Option<Id> => "uuid[]", String => "text[]", &'static str => "text[]", Option<&'static str> => "text[]",
    Vec<u8> => "bytea[]"
);

/// Columns of equal length.
pub(crate) trait Columns {
    /// Their names.
    const NAMES: &'static [&'static str];
    /// Their types.
    const ARRAYS: &'static [&'static str];

    /// How many rows.
    fn len(&self) -> usize;

    /// Appends one parameter per column.
    fn params<'a>(&'a self, params: &mut Vec<Param<'a>>);
}

/// `unnest($4::int8[], $5::uuid[]) AS i(merchant, key)`, with parameters from number `first`.
pub(crate) fn unnest<C: Columns>(first: usize) -> String {
    let arrays: Vec<String> = C::ARRAYS
        .iter()
        .zip(first..)
        .map(|(array, number)| format!("${number}::{array}"))
        .collect();
    format!(
        "unnest({}) AS i({})",
        arrays.join(", "),
        C::NAMES.join(", ")
    )
}

/// Rows of named columns, and the same as columns.
macro_rules! columns {
    ($(#[$doc:meta])* $columns:ident of $row:ident { $($name:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Default, Debug)]
        pub(crate) struct $columns { $($name: Vec<$type>),+ }

        #[derive(Debug)]
        pub(crate) struct $row { $(pub(crate) $name: $type),+ }

        impl $columns {
            pub(crate) fn push(&mut self, row: $row) {
                $(self.$name.push(row.$name);)+
            }
        }

        impl $crate::columns::Columns for $columns {
            const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];
            const ARRAYS: &'static [&'static str] = &[$(<$type as $crate::columns::InArray>::ARRAY),+];

            fn len(&self) -> usize {
                [$(self.$name.len()),+].into_iter().next().unwrap_or_default()
            }

            fn params<'a>(&'a self, params: &mut Vec<$crate::columns::Param<'a>>) {
                $(params.push(&self.$name);)+
            }
        }
    };
}

pub(crate) use columns;
