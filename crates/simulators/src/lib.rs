//! Issuer host and terminals for tests, trials and the demo.
