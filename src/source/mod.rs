//! Where frames come from: a NIC queue by AF_XDP, or a capture in memory; and where byte streams and datagrams come from.
//! A replay differs from the wire in its source and in nothing else.

pub mod capture;
pub mod host;
pub mod members;
pub mod net;
pub mod xdp;

mod frame;
mod stream;

pub use crate::event::LinkType;
pub use frame::{Budget, Frame, FrameSource};
pub use stream::{StreamHandler, StreamSource};
