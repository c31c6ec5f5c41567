//! ISO 8583 acquirer switch for refunds and reversals.
