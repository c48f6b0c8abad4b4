//! The real program with real clients in another language, over real sockets: what was sent is in its report, whatever
//! becomes of the connections. Needs python3, which scripts/setup installs.

#[path = "../common/program.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod program;

mod client;
mod server;

mod hostile;
mod local;
mod pressure;
mod restarts;
mod senders;
mod sessions;
mod stops;
