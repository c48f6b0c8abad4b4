//! XDP and AF_XDP on a real veth pair. Needs root; without it every scenario says that it is skipped.

#[path = "../common/rig.rs"]
mod rig;

mod attachment;
mod losses;
mod rights;
mod setup;
mod traffic;
