//! Sans-IO life of a transaction: routing, matching, time-outs, advices.
