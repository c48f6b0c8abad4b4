//! Hot path: one ITCH message, viewed in place, and the lengths by which types are framed.
//!
//! Invariant: the table of lengths is made from the sizes of the structs, so the two can't differ.

use super::{
    AddOrder, AddOrderAttributed, BrokenTrade, CrossTrade, DirectListingPriceDiscovery, Header, Imbalance,
    IpoQuotingPeriod, LuldAuctionCollar, MarketParticipantPosition, MwcbDeclineLevel, MwcbStatus,
    OperationalHalt, OrderCancel, OrderDelete, OrderExecuted, OrderExecutedWithPrice, OrderReplace,
    RegShoRestriction, RetailInterest, StockDirectory, SystemEvent, Trade, TradingAction,
};
use crate::event::{MessageReject, Nanos};
use crate::wire::Message;
use serde::Serialize;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// A message of a known type, borrowed from its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ItchMessage<'a> {
    /// `S`
    SystemEvent(&'a SystemEvent),
    /// `R`
    StockDirectory(&'a StockDirectory),
    /// `H`
    TradingAction(&'a TradingAction),
    /// `Y`
    RegShoRestriction(&'a RegShoRestriction),
    /// `L`
    MarketParticipantPosition(&'a MarketParticipantPosition),
    /// `V`
    MwcbDeclineLevel(&'a MwcbDeclineLevel),
    /// `W`
    MwcbStatus(&'a MwcbStatus),
    /// `K`
    IpoQuotingPeriod(&'a IpoQuotingPeriod),
    /// `J`
    LuldAuctionCollar(&'a LuldAuctionCollar),
    /// `h`
    OperationalHalt(&'a OperationalHalt),
    /// `A`
    AddOrder(&'a AddOrder),
    /// `F`
    AddOrderAttributed(&'a AddOrderAttributed),
    /// `E`
    OrderExecuted(&'a OrderExecuted),
    /// `C`
    OrderExecutedWithPrice(&'a OrderExecutedWithPrice),
    /// `X`
    OrderCancel(&'a OrderCancel),
    /// `D`
    OrderDelete(&'a OrderDelete),
    /// `U`
    OrderReplace(&'a OrderReplace),
    /// `P`
    Trade(&'a Trade),
    /// `Q`
    CrossTrade(&'a CrossTrade),
    /// `B`
    BrokenTrade(&'a BrokenTrade),
    /// `I`
    Imbalance(&'a Imbalance),
    /// `N`
    RetailInterest(&'a RetailInterest),
    /// `O`
    DirectListingPriceDiscovery(&'a DirectListingPriceDiscovery),
}

impl<'a> ItchMessage<'a> {
    /// Views a message, from its type letter on; `None` for an unknown type and for a body that is shorter than its
    /// type. Bytes behind the known fields are ignored.
    #[inline]
    pub fn parse(body: &'a [u8]) -> Option<ItchMessage<'a>> {
        match body.first()? {
            b'S' => view(body).map(ItchMessage::SystemEvent),
            b'R' => view(body).map(ItchMessage::StockDirectory),
            b'H' => view(body).map(ItchMessage::TradingAction),
            b'Y' => view(body).map(ItchMessage::RegShoRestriction),
            b'L' => view(body).map(ItchMessage::MarketParticipantPosition),
            b'V' => view(body).map(ItchMessage::MwcbDeclineLevel),
            b'W' => view(body).map(ItchMessage::MwcbStatus),
            b'K' => view(body).map(ItchMessage::IpoQuotingPeriod),
            b'J' => view(body).map(ItchMessage::LuldAuctionCollar),
            b'h' => view(body).map(ItchMessage::OperationalHalt),
            b'A' => view(body).map(ItchMessage::AddOrder),
            b'F' => view(body).map(ItchMessage::AddOrderAttributed),
            b'E' => view(body).map(ItchMessage::OrderExecuted),
            b'C' => view(body).map(ItchMessage::OrderExecutedWithPrice),
            b'X' => view(body).map(ItchMessage::OrderCancel),
            b'D' => view(body).map(ItchMessage::OrderDelete),
            b'U' => view(body).map(ItchMessage::OrderReplace),
            b'P' => view(body).map(ItchMessage::Trade),
            b'Q' => view(body).map(ItchMessage::CrossTrade),
            b'B' => view(body).map(ItchMessage::BrokenTrade),
            b'I' => view(body).map(ItchMessage::Imbalance),
            b'N' => view(body).map(ItchMessage::RetailInterest),
            b'O' => view(body).map(ItchMessage::DirectListingPriceDiscovery),
            _ => None,
        }
    }
}

#[inline]
fn view<T: FromBytes + Immutable + KnownLayout + Unaligned>(body: &[u8]) -> Option<&T> {
    T::ref_from_prefix(body).ok().map(|(message, _)| message)
}

/// Bytes of a message by its type letter; 0 for unknown types. A `u8` each, so that the table is four cache lines.
static LENGTHS: [u8; 256] = lengths();

const fn lengths() -> [u8; 256] {
    let mut table = [0; 256];
    table[b'S' as usize] = size_of::<SystemEvent>() as u8;
    table[b'R' as usize] = size_of::<StockDirectory>() as u8;
    table[b'H' as usize] = size_of::<TradingAction>() as u8;
    table[b'Y' as usize] = size_of::<RegShoRestriction>() as u8;
    table[b'L' as usize] = size_of::<MarketParticipantPosition>() as u8;
    table[b'V' as usize] = size_of::<MwcbDeclineLevel>() as u8;
    table[b'W' as usize] = size_of::<MwcbStatus>() as u8;
    table[b'K' as usize] = size_of::<IpoQuotingPeriod>() as u8;
    table[b'J' as usize] = size_of::<LuldAuctionCollar>() as u8;
    table[b'h' as usize] = size_of::<OperationalHalt>() as u8;
    table[b'A' as usize] = size_of::<AddOrder>() as u8;
    table[b'F' as usize] = size_of::<AddOrderAttributed>() as u8;
    table[b'E' as usize] = size_of::<OrderExecuted>() as u8;
    table[b'C' as usize] = size_of::<OrderExecutedWithPrice>() as u8;
    table[b'X' as usize] = size_of::<OrderCancel>() as u8;
    table[b'D' as usize] = size_of::<OrderDelete>() as u8;
    table[b'U' as usize] = size_of::<OrderReplace>() as u8;
    table[b'P' as usize] = size_of::<Trade>() as u8;
    table[b'Q' as usize] = size_of::<CrossTrade>() as u8;
    table[b'B' as usize] = size_of::<BrokenTrade>() as u8;
    table[b'I' as usize] = size_of::<Imbalance>() as u8;
    table[b'N' as usize] = size_of::<RetailInterest>() as u8;
    table[b'O' as usize] = size_of::<DirectListingPriceDiscovery>() as u8;
    table
}

/// Bytes of a message of this type, its letter included; `None` for types that ITCH 5.0 does not have.
#[inline]
pub fn length_of(letter: u8) -> Option<usize> {
    match LENGTHS[usize::from(letter)] {
        0 => None,
        length => Some(usize::from(length)),
    }
}

/// The timestamp of a message, ns since midnight, which stands in the same place in every type, unknown ones
/// included; `None` for a body that is too short to have one.
#[inline]
pub fn timestamp(body: &[u8]) -> Option<Nanos> {
    view::<Header>(body).map(|header| header.timestamp.get())
}

/// A whole message as a decoder offers it. Unknown types pass, and so does an empty body, with type 0; a longer body
/// than its type has passes too, for fields that a later revision adds.
///
/// # Errors
/// [`MessageReject::TooShort`] for a known type that is shorter than its specification.
#[inline]
pub fn whole_message(sequence: u64, body: &[u8]) -> Result<Message<'_>, MessageReject> {
    let letter = body.first().copied().unwrap_or(0);
    if length_of(letter).is_some_and(|length| body.len() < length) {
        return Err(MessageReject::TooShort);
    }
    Ok(Message { sequence, kind: u16::from(letter), source_ns: timestamp(body).unwrap_or(0), body })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types and lengths as the specification's offset tables add up.
    const SPECIFIED: [(u8, usize); 23] = [
        (b'S', 12),
        (b'R', 39),
        (b'H', 25),
        (b'Y', 20),
        (b'L', 26),
        (b'V', 35),
        (b'W', 12),
        (b'K', 28),
        (b'J', 35),
        (b'h', 21),
        (b'A', 36),
        (b'F', 40),
        (b'E', 31),
        (b'C', 36),
        (b'X', 23),
        (b'D', 19),
        (b'U', 35),
        (b'P', 44),
        (b'Q', 40),
        (b'B', 19),
        (b'I', 50),
        (b'N', 20),
        (b'O', 48),
    ];

    #[test]
    fn knows_the_specified_types_and_no_others() {
        for letter in 0..=u8::MAX {
            let specified = SPECIFIED.iter().find(|(known, _)| *known == letter).map(|(_, length)| *length);
            assert_eq!(length_of(letter), specified, "type {letter}");
            let mut body = [0; 60];
            body[0] = letter;
            let shortest = (0..=60).find(|length| ItchMessage::parse(&body[..*length]).is_some());
            assert_eq!(shortest, specified, "type {letter}");
        }
    }

    #[test]
    fn every_type_has_its_timestamp_in_the_same_place() {
        // A real F of META at 09:30 and some seconds.
        let body = b"F\x19\x72\x00\x00\x1f\x23\xe0\x98\x1a\xe1";
        assert_eq!(timestamp(body), Some(0x1f23_e098_1ae1));
        assert_eq!(timestamp(&body[..10]), None);
    }
}
