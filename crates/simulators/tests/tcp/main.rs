//! The issuer and the terminal over real loopback TCP.

mod evidence;
mod issuer;
mod terminal;
mod world;
