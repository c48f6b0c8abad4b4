//! The machine: memory, clock, processors, capabilities, interfaces and signals, as the rest of the appliance sees
//! them. `unsafe` that talks to the kernel lives here; everything offered here is safe to use.

mod memory;

pub use memory::{HugeWish, MemoryError, MemoryWish, PageKind, Region, RegionReport};
