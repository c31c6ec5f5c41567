//! The rules, pure: records and a command in, an event or a reason out.
