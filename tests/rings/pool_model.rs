//! The pool over modelled memory: the product's own files but for `slab` and `create`.

#[path = "../../src/pool/classes.rs"]
mod classes;
#[path = "create_model.rs"]
mod create;
#[path = "../../src/pool/free.rs"]
mod free;
#[path = "../../src/pool/plan.rs"]
mod plan;
#[path = "../../src/pool/returns.rs"]
mod returns;
#[path = "slab_model.rs"]
mod slab;
#[path = "../../src/pool/slots.rs"]
mod slots;
#[path = "../../src/pool/ticket.rs"]
mod ticket;

pub use classes::SlotClass;
pub use plan::{Bill, BillLine, Demand, PoolPlan};
pub use returns::{ReturnPort, Returns};
pub use slab::EventRef;
pub use slots::{Pool, SlotReader};
pub use ticket::Ticket;
