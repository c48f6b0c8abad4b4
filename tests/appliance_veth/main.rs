//! The real program on a real veth pair: `sluice run` in one network namespace, `sluice replay` in the other. Needs root;
//! without it every scenario says that it is skipped.

#[path = "../common/program.rs"]
mod program;
#[path = "../common/rig.rs"]
mod rig;

mod ends;
mod live;
mod losses;
mod members;
mod streams;
