//! The host's own figures as events: read from /proc and /sys by a thread of their own, written as native version 2
//! frames into a Unix stream whose other end is a connection of a shard like any other. docs/host-metrics.md lists
//! topics, keys and units.
//!
//! Invariant: nothing here runs on a shard's thread, and nothing here can hold one up: the socket is written to without
//! waiting, and what does not fit is given up, counted, whole frames only.

mod error;
mod facts;
mod metrics;
mod outlet;
mod rings;
mod sample;

pub use error::HostError;
pub use metrics::{HostCounts, HostMetrics};
