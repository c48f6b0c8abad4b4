//! The part of the machine that the pool needs: its memory.

#[path = "../../src/os/memory.rs"]
mod memory;

pub use memory::{HugeWish, MemoryError, MemoryWish, PageKind, Region, RegionReport};
