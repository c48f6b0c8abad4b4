//! io_uring as the sources of byte streams need it: requests on registered files, received into provided buffers.
//! Invariant: memory that the kernel may write or read belongs to the ring and outlives it; users hold move-only chunks.

mod buffers;
mod create;
mod error;
mod outgoing;
mod replies;
mod ring;
mod token;

pub use buffers::{Chunk, GroupIndex};
pub use create::{UringMode, UringReport, UringSettings};
pub use error::UringError;
pub use ring::{Completion, Datagram, Uring};
pub use token::{Operation, Token};
