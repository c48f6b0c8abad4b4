//! A SoupBinTCP server of the ITCH messages in a capture: released at the replay's pace, numbered from 1, and sent to
//! each client from the number on that it asks for.
//!
//! Architecture invariant: one thread with sockets that never block, and memory that is bounded whatever clients do: one
//! that takes nothing is closed, by name, before it holds up the others for long.

mod client;
mod release;
mod report;
mod server;

pub use report::{ClientReport, SoupReport};
pub use server::{CLIENTS_MAX, SoupOptions, SoupServer};
