//! The fields of an ITCH message by name, for listings. Cold: it allocates.
//!
//! Invariant: the names and their order are those of the structs, which are those of the specification; a field
//! can't be forgotten here.

use super::ItchMessage;

/// All fields of a message, from its type letter on: numbers as numbers, the timestamp in ns since midnight, prices as
/// exact decimal strings, codes as one-letter strings, text without its padding. `None` for unknown types and for
/// bodies that are too short.
pub fn describe(body: &[u8]) -> Option<serde_json::Value> {
    let message = ItchMessage::parse(body)?;
    serde_json::to_value(message).ok()
}
