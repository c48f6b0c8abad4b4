//! Where frames come from: a NIC queue by AF_XDP, or a capture in memory. A replay differs from the wire in its
//! source and in nothing else.

pub mod capture;
pub mod xdp;

mod frame;

pub use crate::event::LinkType;
pub use frame::{Budget, Frame, FrameSource};
