//! Dead letters on which an operator decided at another node: this one is to count them no more.

use std::sync::PoisonError;

use foldhash::HashSet;
use refund_ledger::store::Completion;
use refund_ledger::{AdviceKey, AdviceState, Key};
use tokio_postgres::Client;

use crate::columns::Id;
use crate::database::Failure;
use crate::queue::Shared;
use crate::rows::merchant_of;

/// Looks which of the dead letters that this node knows of are its own still, and tells of the others.
pub(crate) async fn look(client: &Client, shared: &Shared, writer: i64) -> Result<(), Failure> {
    let known = shared.known_advices().into_iter();
    let dead = known.filter(|advice| advice.state == AdviceState::Dead);
    let dead: Vec<AdviceKey> = dead.map(|advice| advice.key).collect();
    if dead.is_empty() {
        return Ok(());
    }
    let merchants: Vec<i64> = dead
        .iter()
        .map(|key| merchant_of(key.transaction))
        .collect();
    let ids: Vec<Id> = dead.iter().map(|key| Id::from(key.transaction)).collect();
    let ordinals: Vec<i16> = dead.iter().map(|key| i16::from(key.ordinal)).collect();
    let sql = "SELECT t.key, t.ordinal, t.writer = $4::int8 \
               FROM unnest($1::int8[], $2::uuid[], $3::int2[]) AS i(merchant, key, ordinal) \
               JOIN advices t ON t.merchant = i.merchant AND t.key = i.key AND t.ordinal = i.ordinal \
               WHERE t.state = $5::int2";
    let state = AdviceState::Dead as i16;
    let rows = client
        .query(sql, &[&merchants, &ids, &ordinals, &writer, &state])
        .await?;
    let (mut own, mut there) = (HashSet::default(), HashSet::default());
    for row in rows {
        let key = AdviceKey {
            transaction: Key::from_value(row.get::<_, Id>(0).0),
            ordinal: u8::try_from(row.get::<_, i16>(1)).unwrap_or(u8::MAX),
        };
        there.insert(key);
        if row.get(2) {
            own.insert(key);
        }
    }
    {
        let mut known = shared
            .advices
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for key in dead.iter().filter(|key| !there.contains(*key)) {
            known.remove(key);
        }
    }
    let elsewhere: Vec<AdviceKey> = dead.into_iter().filter(|key| !own.contains(key)).collect();
    if !elsewhere.is_empty() {
        shared.complete(vec![Completion::Elsewhere(elsewhere)]);
    }
    Ok(())
}
