//! The keys that card digests and sealed boxes were made with: their ids, and what tells them from others of the same id.

use refund_ledger::{KeyCheck, KeyId, KnownKey};
use tokio_postgres::{Client, Row};

use crate::database::Failure;

/// All of them, in the order in which they came.
pub(crate) async fn known(client: &Client) -> Result<Vec<KnownKey>, Failure> {
    let sql = "SELECT id, check_value FROM card_keys ORDER BY place";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().filter_map(key).collect())
}

fn key(row: &Row) -> Option<KnownKey> {
    let check: Option<Vec<u8>> = row.get(1);
    Some(KnownKey {
        id: KeyId(u32::try_from(row.get::<_, i64>(0)).ok()?),
        check: check.and_then(|bytes| bytes.try_into().ok()).map(KeyCheck),
    })
}

/// Puts keys on record, unless another node has put some there that the caller has not `seen`: two nodes that begin a ledger with
/// different keys would both be wrong for it. Gives what is on record then. To be called within a transaction.
pub(crate) async fn make_known(
    client: &Client,
    keys: &[KnownKey],
    seen: &[KnownKey],
) -> Result<Vec<KnownKey>, Failure> {
    client
        .batch_execute("LOCK TABLE card_keys IN EXCLUSIVE MODE")
        .await?;
    let present = known(client).await?;
    if present != seen {
        return Ok(present);
    }
    for key in keys {
        let number = i64::from(key.id.0);
        let check = key.check.map(|check| check.0.to_vec());
        let sql = "INSERT INTO card_keys (id, check_value) VALUES ($1, $2) ON CONFLICT (id) \
                   DO UPDATE SET check_value = EXCLUDED.check_value WHERE card_keys.check_value IS NULL";
        client.execute(sql, &[&number, &check]).await?;
    }
    known(client).await
}
