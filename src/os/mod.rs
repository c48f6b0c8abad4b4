//! The machine: memory, clock, processors, capabilities, interfaces and signals, as the rest of the appliance sees
//! them. `unsafe` that talks to the kernel lives here; everything offered here is safe to use.

mod affinity;
mod allocation;
mod capabilities;
mod clock;
mod error;
mod machine;
mod memory;
mod multicast;
mod netdev;
pub mod packet;
mod process;
mod records;
mod signals;
mod sockets;
pub mod uring;

pub use affinity::{
    allowed_cpus, name_current_thread, pin_current_thread, set_fifo, set_ordinary, sleep_exactly,
};
pub use allocation::{CountingAllocator, allocations_are_counted, allocations_of_this_thread};
pub use capabilities::{Capabilities, Capability};
pub use clock::{Clock, TickSource, monotonic_now};
pub use error::OsError;
pub use machine::MachineFacts;
pub use memory::{HugeWish, MemoryError, MemoryWish, PageKind, Region, RegionReport};
pub use multicast::{join_group, leave_group};
pub use netdev::{Interface, LinkState, interfaces, link_state};
pub use process::{ThreadUsage, allow_open_files, patiently, resident_bytes};
pub use records::{RECORD_BYTES, RecordFile};
pub use signals::{KillRequest, KillRequests, ReloadRequests, StopFlag};
pub use sockets::dropped_datagrams;
