//! Multicast membership of interfaces whose packets come by XDP: sockets of the kernel that join the groups of the feeds
//! and receive nothing, so that switches send the packets here.

mod error;
mod plan;
mod sockets;

pub use error::MembersError;
pub use plan::{MEMBER_SOCKETS_MAX, MemberLimits, Membership, place, wanted};
pub use sockets::{Members, MembershipFact};
