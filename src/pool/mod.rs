//! The event pool: slots for events in one piece of memory, and the tickets that are the right to a slot.
//!
//! A shard owns a pool. It acquires a ticket, writes the event into the ticket's slot once, and from then on only
//! the ticket travels: through a queue to a processor, and home through a return ring of the processor's own. Each
//! ticket is unique and moves, so whoever holds it is the only one who can reach its slot; no slot has a lock, a
//! reference count or an atomic. The rings order what is written before a push with what is read after a pop.

mod classes;
mod create;
mod free;
mod plan;
mod returns;
mod slab;
mod slots;
mod ticket;

pub use classes::SlotClass;
pub use create::{PoolError, PoolReport};
pub use plan::{Bill, BillLine, Demand, PoolPlan};
pub use returns::{ReturnPort, Returns};
pub use slab::EventRef;
pub use slots::{Pool, SlotReader};
pub use ticket::Ticket;
