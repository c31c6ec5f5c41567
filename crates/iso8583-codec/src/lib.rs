//! ISO 8583 messages: bytes to fields and back, zero-copy, dialects as data.
