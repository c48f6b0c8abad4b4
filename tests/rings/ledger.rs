//! The part of the ledger that the queues need: their books.

#[path = "../../src/ledger/connections.rs"]
mod connections;

#[path = "../../src/ledger/flows.rs"]
mod flows;

#[path = "../../src/ledger/books.rs"]
mod books;

pub use connections::ConnectionBook;

pub use flows::FlowBook;

pub use books::{EventBook, FrameBook, Imbalance, KernelBook, Ledger, MessageBook, QueueBook, RoutingBook};
