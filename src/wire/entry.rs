//! The normalised view of a message: what it says of a book or a trade, in the same words for every venue.

use crate::event::{Price, Side};
use std::fmt;

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An order or level enters the book.
    Add,
    /// An order or level has a new price or size (size is the new size).
    Change,
    /// Part of an order is taken away without a trade (size is the part).
    Reduce,
    /// An order or level leaves the book.
    Delete,
    /// An order in the book was executed (size is the part).
    Execute,
    /// A trade.
    Trade,
    /// A trade is taken back.
    Break,
    /// A quote: the best price and size of a side.
    Quote,
}

impl Action {
    /// The name used in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Add => "add",
            Action::Change => "change",
            Action::Reduce => "reduce",
            Action::Delete => "delete",
            Action::Execute => "execute",
            Action::Trade => "trade",
            Action::Break => "break",
            Action::Quote => "quote",
        }
    }
}

/// What is traded, as the venue names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instrument {
    /// A symbol of up to eight ASCII bytes, padded with spaces.
    Symbol([u8; 8]),
    /// A number: CME security id, ITCH stock locate, ICE market id.
    Number(u64),
    /// The same number's book of implied prices, which is a book of its own (CME MDP 3.0).
    Implied(u64),
}

impl fmt::Display for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Instrument::Number(number) => write!(f, "{number}"),
            Instrument::Implied(number) => write!(f, "{number}:implied"),
            Instrument::Symbol(bytes) => {
                bytes.iter().take_while(|b| **b != b' ' && **b != 0).try_for_each(|b| {
                    let letter = if b.is_ascii_graphic() { char::from(*b) } else { '?' };
                    write!(f, "{letter}")
                })
            }
        }
    }
}

/// One change of a book, or one trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What happens.
    pub action: Action,
    /// On which side; for trades, the aggressor's.
    pub side: Side,
    /// At what price; `None` where the message carries none (an ITCH execution refers to its order).
    pub price: Option<Price>,
    /// How much, in the venue's units; 0 where the message carries none.
    pub size: u64,
    /// Of what.
    pub instrument: Instrument,
    /// Order reference, or trade id for trades; 0 where there is none.
    pub reference: u64,
}
