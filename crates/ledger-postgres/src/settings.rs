//! Settings of the server under which a commit is not what it is taken for, said at each start.

use tokio_postgres::Client;

use crate::database::Failure;

/// Looks at the server's settings and logs what is dangerous about them.
pub(crate) async fn look(client: &Client, node: &str) -> Result<(), Failure> {
    for (setting, safe, danger) in [
        (
            "fsync",
            &["on"][..],
            "a crash of its machine loses and damages records of this ledger",
        ),
        (
            "full_page_writes",
            &["on"],
            "a crash of its machine damages records of this ledger",
        ),
        (
            "synchronous_commit",
            &["on", "remote_apply", "remote_write"],
            "this ledger's own sessions set it on; what else writes to this database is not durable when it is told so",
        ),
    ] {
        let value = value(client, setting).await?;
        if !safe.contains(&value.as_str()) {
            tracing::warn!(
                node,
                setting,
                value,
                "DANGER: the database is set so: {danger}"
            );
        }
    }
    if value(client, "synchronous_commit").await? == "remote_write" {
        tracing::warn!(
            node,
            "the database's synchronous_commit is remote_write: a standby that loses its power together with the primary loses \
             what was committed"
        );
    }
    if value(client, "synchronous_standby_names").await?.is_empty() {
        tracing::info!(
            node,
            "the database has no synchronous standby: one machine holds the only copy of what is committed last, and a failover \
             to another one loses it"
        );
    }
    Ok(())
}

/// As the server has it for its sessions, whatever this one has set.
async fn value(client: &Client, setting: &str) -> Result<String, Failure> {
    let sql = "SELECT reset_val FROM pg_settings WHERE name = $1";
    let row = client.query_opt(sql, &[&setting]).await?;
    Ok(row.map_or_else(String::new, |row| {
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }))
}
