//! Dead letters: events that were not processed, from the agents that gave them up to a list and a file.
//!
//! An agent holds a [`LetterPort`], which writes into a ring without waiting. A [`LetterOffice`], on a thread of its own
//! ([`OfficeThread`]), takes letters from there, keeps the newest and appends all to a [`LetterFile`], which
//! [`LetterLines`] reads back.
//!
//! Architecture invariant: each dead letter is in one count: written to the ring, suppressed, or without room; and of those
//! that were written and handed to a file, each is written or not written.

mod error;
mod file;
mod office;
mod port;
mod read;
mod reader;
mod reason;
mod record;
mod thread;

pub use error::DeadLetterError;
pub use file::{FileCounts, LetterFile, Trouble};
pub use office::{LetterCounts, LetterOffice};
pub use port::{LetterPort, PortCounts, Posted, letter_way};
pub use read::{LetterLines, ReadProblem, WrongLine};
pub use reader::LetterReader;
pub use reason::Reason;
pub use record::{LINE_BYTES_MAX, LINE_VERSION, Letter, LineError};
pub use thread::{OfficeThread, unix_now};
