//! Sluice: a kernel-bypass ingest appliance for market data.
//!
//! Frames come off a NIC through XDP and AF_XDP (or out of a capture), events come out to processors, and
//! every frame, message and event has exactly one counted fate.
//!
//! The order of the modules below is the floor plan: a module imports only from modules above it.
//! `tests/architecture.rs` reads this file and fails on an upward import.

// 0 vocabulary
pub mod limits;

pub mod event;
// 1 machine
pub mod os;
// 2 resources
pub mod pool;

pub mod ledger;

pub mod config;
// 3 decisions
pub mod wire;

pub mod feed;

pub mod process;
// 4 ports
pub mod queue;

pub mod source;

pub mod sink;
// 5 threads
pub mod runtime;

pub mod control;

pub mod agents;
// 6 surfaces
pub mod replay;

pub mod load;

pub mod report;
// 7 appliance
pub mod appliance;

pub mod cli;
