//! MoldUDP64 re-requests, asked by hand over real sockets: what `sluice replay --rerequest` answers, and what a foreign
//! server does, so that both can be trusted where recovery is tested.

mod client;
mod foreign;
#[path = "../common/foreign.rs"]
mod foreign_server;
mod interface;
mod lossy;
#[path = "../common/program.rs"]
mod program;
#[path = "../common/relay.rs"]
mod relay;
#[path = "../common/rig.rs"]
mod rig;
mod server;
