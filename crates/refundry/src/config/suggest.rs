//! "Did you mean": the known name that is nearest to a mistyped one.

/// The name of `known` that looks most like `name`; `None` only where nothing is known.
///
/// Jaro-Winkler, since it favours a common beginning: people forget endings (`retry` for `retry_interval`) more often than
/// beginnings.
#[must_use]
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}
