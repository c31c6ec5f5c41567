//! The issuer and the terminal over real loopback TCP.

mod evidence;
mod issuer;
mod load;
mod terminal;
mod world;
