//! What the appliance tells while it runs.

use crate::config::Severity;
use crate::control::ControlEvent;
use crate::event::ShardId;
use crate::feed::Notice;
use serde_json::Value;

/// Something that was told.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// Something happened to a stream or line of a shard.
    Notice(ShardId, &'a Notice),
    /// The control plane noted something. It has logged it already.
    Control(&'a ControlEvent),
    /// An alert or a closed window: an object with its `topic`.
    Record(&'a Value),
    /// A line for the log.
    Log(Severity, &'a str),
}
