//! The server over real sockets, asked with Debian's `dig` (package dnsutils) and with bytes by hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod answers;
mod dig;
mod forwarding;
mod messages;
mod program;
mod running;
mod upstream;
