//! The ids of the keys that card digests and sealed boxes were made with.

use refund_ledger::KeyId;
use tokio_postgres::Client;

use crate::database::Failure;

/// All of them, in the order in which they came.
pub(crate) async fn known(client: &Client) -> Result<Vec<KeyId>, Failure> {
    let rows = client
        .query("SELECT id FROM card_keys ORDER BY place", &[])
        .await?;
    let ids = rows
        .iter()
        .filter_map(|row| u32::try_from(row.get::<_, i64>(0)).ok());
    Ok(ids.map(KeyId).collect())
}

/// Puts ids on record, unless another node has put some there that the caller has not `seen`: two nodes that begin a ledger with
/// different keys would both be wrong for it. Gives what is on record then. To be called within a transaction.
pub(crate) async fn make_known(
    client: &Client,
    ids: &[KeyId],
    seen: &[KeyId],
) -> Result<Vec<KeyId>, Failure> {
    client
        .batch_execute("LOCK TABLE card_keys IN EXCLUSIVE MODE")
        .await?;
    let present = known(client).await?;
    if present.len() != seen.len() {
        return Ok(present);
    }
    for id in ids {
        let number = i64::from(id.0);
        let sql = "INSERT INTO card_keys (id) VALUES ($1) ON CONFLICT DO NOTHING";
        client.execute(sql, &[&number]).await?;
    }
    known(client).await
}
