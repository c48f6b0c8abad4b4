//! Recovery from end to end: lossy lines of a foreign server and of our own, up to what a processor sees and in which order.

#[path = "../rerequest/client.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod client;
#[path = "../common/foreign.rs"]
mod foreign_server;
#[path = "../common/program.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod program;
#[path = "../common/relay.rs"]
mod relay;

#[path = "../common/rig.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod rig;

mod backfill;
mod dead;
mod interface;
mod order;
mod pressure;
mod recorder;
mod running;
mod whole;
