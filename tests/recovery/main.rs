//! Lost messages come back: `sluice run` with a line that loses datagrams and re-request servers of every temper.

#[path = "../common/program.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod program;

#[path = "../ingest/server.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod server;

mod datagrams;
mod replays;
mod venue;
