//! Hot path: what an ITCH message says of books and trades.
//!
//! Invariant: an entry says only what its message says. An execution names its order, not its side or symbol: to
//! know those, one must have kept the order.

use super::{Alpha, Header, ItchMessage, Letter};
use crate::event::{Price, Side};
use crate::wire::{Action, Entry, Instrument};

/// Tells `found` the entries of one message, from its type letter on; nothing for messages that change no book, for
/// unknown types and for bodies that are too short.
///
/// The instrument is the symbol where the message has one, else the stock locate. The reference is that of the order,
/// for trades and breaks the match number. A replacement is one `Change` of the original order; the new order's
/// reference is in [`super::OrderReplace`]. A cross without shares is no trade.
#[inline]
pub fn entries(body: &[u8], found: &mut impl FnMut(Entry)) {
    if let Some(entry) = ItchMessage::parse(body).and_then(|message| entry(&message)) {
        found(entry);
    }
}

#[inline]
fn entry(message: &ItchMessage<'_>) -> Option<Entry> {
    let entry = match message {
        ItchMessage::AddOrder(m) => Entry {
            action: Action::Add,
            side: side(m.buy_sell_indicator),
            price: Some(m.price.get()),
            size: u64::from(m.shares.get()),
            instrument: symbol(m.stock),
            reference: m.order_reference_number.get(),
        },
        ItchMessage::AddOrderAttributed(m) => Entry {
            action: Action::Add,
            side: side(m.buy_sell_indicator),
            price: Some(m.price.get()),
            size: u64::from(m.shares.get()),
            instrument: symbol(m.stock),
            reference: m.order_reference_number.get(),
        },
        ItchMessage::OrderExecuted(m) => {
            let (size, order) = (m.executed_shares.get(), m.order_reference_number.get());
            of_order(Action::Execute, &m.header, None, size, order)
        }
        ItchMessage::OrderExecutedWithPrice(m) => {
            let (size, order) = (m.executed_shares.get(), m.order_reference_number.get());
            of_order(Action::Execute, &m.header, Some(m.execution_price.get()), size, order)
        }
        ItchMessage::OrderCancel(m) => {
            let (size, order) = (m.cancelled_shares.get(), m.order_reference_number.get());
            of_order(Action::Reduce, &m.header, None, size, order)
        }
        ItchMessage::OrderDelete(m) => {
            of_order(Action::Delete, &m.header, None, 0, m.order_reference_number.get())
        }
        ItchMessage::OrderReplace(m) => {
            let (size, order) = (m.shares.get(), m.original_order_reference_number.get());
            of_order(Action::Change, &m.header, Some(m.price.get()), size, order)
        }
        ItchMessage::Trade(m) => Entry {
            action: Action::Trade,
            side: side(m.buy_sell_indicator),
            price: Some(m.price.get()),
            size: u64::from(m.shares.get()),
            instrument: symbol(m.stock),
            reference: m.match_number.get(),
        },
        ItchMessage::CrossTrade(m) if m.shares.get() > 0 => Entry {
            action: Action::Trade,
            side: Side::None,
            price: Some(m.cross_price.get()),
            size: m.shares.get(),
            instrument: symbol(m.stock),
            reference: m.match_number.get(),
        },
        ItchMessage::BrokenTrade(m) => of_order(Action::Break, &m.header, None, 0, m.match_number.get()),
        _ => return None,
    };
    Some(entry)
}

/// An entry of a message that names an order or a match, and of its instrument only the locate.
#[inline]
fn of_order(action: Action, header: &Header, price: Option<Price>, size: u32, reference: u64) -> Entry {
    let instrument = Instrument::Number(u64::from(header.stock_locate.get()));
    Entry { action, side: Side::None, price, size: u64::from(size), instrument, reference }
}

#[inline]
fn symbol(stock: Alpha<8>) -> Instrument {
    Instrument::Symbol(stock.0)
}

#[inline]
fn side(indicator: Letter) -> Side {
    match indicator.0 {
        b'B' => Side::Buy,
        b'S' => Side::Sell,
        _ => Side::None,
    }
}
