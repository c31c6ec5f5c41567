//! How much of each original is left: pure decide and apply, an index, a durable store.
