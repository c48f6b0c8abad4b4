//! The words of the appliance as types: who, when, how urgent, at what price, and the header of an event.

mod class;
mod decimal;
mod destination;
mod header;
mod ids;
mod link;
mod marks;
mod overflow;
mod prefix;
mod price;
mod protocol;
mod reject;
mod time;

pub use class::{Class, Priority};
pub use decimal::Decimal;
pub use destination::Destination;
pub use header::{EventHeader, HEADER_BYTES};
pub use ids::{ConnectionIndex, InletIndex, LineIndex, ShardId, StreamIndex};
pub use link::LinkType;
pub use marks::Marks;
pub use overflow::Overflow;
pub use prefix::Prefix;
pub use price::{Price, Side};
pub use protocol::Protocol;
pub use reject::{CloseReason, DeadReason, FrameReject, MessageReject, RequestFailure, ShedReason};
pub use time::{ClockKind, Nanos};
