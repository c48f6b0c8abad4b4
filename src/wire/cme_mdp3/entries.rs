//! Hot path: what MDP 3.0 messages say of books and trades, in the words of all venues.
//!
//! Invariant: prices keep their exponent (7 or 9 decimals by template), nulls become "none", and a group that
//! does not fit its message yields nothing.

use super::body::{Body, Dimension, Group};
use super::layout::{
    BookEntry, BookLongEntry, OrderBookEntry, OrderSnapshot, OrderSnapshotEntry, Snapshot, SnapshotEntry,
    TradeEntry, TradeSummaryEntry, TradeSummaryLongEntry, price_decimals, template,
};
use crate::event::{Price, Side};
use crate::wire::{Action, Entry, Instrument};
use zerocopy::little_endian::{I32, I64, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Null of a price, of a 32-bit size, and of the unsigned ids.
const PRICE_NULL: i64 = i64::MAX;
const SIZE_NULL: i32 = i32::MAX;
const TRADE_ID_NULL: u32 = u32::MAX;

/// Tells `found` the levels, orders and trades in `body`, a message of the template `kind`.
///
/// Levels come from 32, 46, 64 and the snapshots 38, 52 (as adds); orders from 43, 47 and the snapshots 44, 53;
/// trades from 36, 42, 48, 65, and their busts. Implied prices are a book of their own
/// ([`Instrument::Implied`]), the best bid and offer of the
/// market are quotes, a book reset is a delete without side and price. Corrections of trades and statistics
/// are not told; [`super::describe`] lists them.
#[inline]
pub fn entries(kind: u16, body: &[u8], found: &mut impl FnMut(Entry)) {
    let decimals = price_decimals(kind);
    match kind {
        template::BOOK | template::BOOK_9 => {
            each(kind, body, |e: &BookEntry| level(decimals, e), found);
        }
        template::BOOK_LONG => {
            each(kind, body, |e: &BookLongEntry| level_long(decimals, e), found);
        }
        template::TRADE_SUMMARY | template::TRADE_SUMMARY_9 => {
            each(kind, body, |e: &TradeSummaryEntry| trade_summary(decimals, e), found);
        }
        template::TRADE_SUMMARY_LONG => {
            each(kind, body, |e: &TradeSummaryLongEntry| trade_summary_long(decimals, e), found);
        }
        template::TRADE => each(kind, body, |e: &TradeEntry| single_trade(decimals, e), found),
        template::ORDER_BOOK | template::ORDER_BOOK_9 => {
            each(kind, body, |e: &OrderBookEntry| order(decimals, e), found);
        }
        template::SNAPSHOT | template::SNAPSHOT_9 => snapshot(kind, body, found),
        template::ORDER_SNAPSHOT | template::ORDER_SNAPSHOT_9 => order_snapshot(kind, body, found),
        _ => {}
    }
}

/// Runs `convert` over the first group of `body` and tells `found` what comes of it.
#[inline]
fn each<'a, E>(
    kind: u16,
    body: &'a [u8],
    convert: impl Fn(&'a E) -> Option<Entry>,
    found: &mut impl FnMut(Entry),
) where
    E: FromBytes + Immutable + KnownLayout + Unaligned + 'a,
{
    if let Some(body) = Body::parse(kind, body)
        && let Some((group, _)) = Group::take(body.groups, Dimension::Bytes3)
        && let Some(entries) = group.entries::<E>()
    {
        entries.filter_map(convert).for_each(found);
    }
}

/// A changed level.
#[inline]
fn level(decimals: u8, e: &BookEntry) -> Option<Entry> {
    book(e.entry_type, e.action, e.security_id, price(decimals, e.price), size(e.size))
}

/// A changed level with a 64-bit size.
#[inline]
fn level_long(decimals: u8, e: &BookLongEntry) -> Option<Entry> {
    book(e.entry_type, e.action, e.security_id, price(decimals, e.price), size_long(e.size))
}

/// A changed order.
#[inline]
fn order(decimals: u8, e: &OrderBookEntry) -> Option<Entry> {
    let entry = book(e.entry_type, e.action, e.security_id, price(decimals, e.price), size(e.size))?;
    Some(Entry { reference: order_id(e.order_id), ..entry })
}

/// A trade, or its bust.
#[inline]
fn trade_summary(decimals: u8, e: &TradeSummaryEntry) -> Option<Entry> {
    let reference = trade_id(e.trade_id.get());
    trade(e.aggressor, e.action, e.security_id, price(decimals, e.price), size(e.size), reference)
}

/// A trade with a 64-bit size, or its bust.
#[inline]
fn trade_summary_long(decimals: u8, e: &TradeSummaryLongEntry) -> Option<Entry> {
    let reference = trade_id(e.trade_id.get());
    trade(e.aggressor, e.action, e.security_id, price(decimals, e.price), size_long(e.size), reference)
}

/// A single trade, or its bust.
#[inline]
fn single_trade(decimals: u8, e: &TradeEntry) -> Option<Entry> {
    let reference = u64::try_from(e.trade_id.get()).unwrap_or(0);
    trade(e.aggressor, e.action, e.security_id, price(decimals, e.price), size(e.size), reference)
}

/// Tells `found` the levels of a snapshot; its statistics and last trade are not part of the book.
#[inline]
fn snapshot(kind: u16, bytes: &[u8], found: &mut impl FnMut(Entry)) {
    if let Some(root) = Body::parse(kind, bytes).and_then(|body| body.root::<Snapshot>()) {
        let add = |e: &SnapshotEntry| {
            let price = price(price_decimals(kind), e.price);
            book(e.entry_type, 0, root.security_id, price, size(e.size))
        };
        each(kind, bytes, add, found);
    }
}

/// Tells `found` the orders of a snapshot.
#[inline]
fn order_snapshot(kind: u16, bytes: &[u8], found: &mut impl FnMut(Entry)) {
    if let Some(root) = Body::parse(kind, bytes).and_then(|body| body.root::<OrderSnapshot>()) {
        let add = |e: &OrderSnapshotEntry| {
            let price = price(price_decimals(kind), e.price);
            let entry = book(e.entry_type, 0, root.security_id, price, size(e.size))?;
            Some(Entry { reference: order_id(e.order_id), ..entry })
        };
        each(kind, bytes, add, found);
    }
}

/// A change of a book; `None` for entry types and actions that are not known.
#[inline]
fn book(entry_type: u8, action: u8, security_id: I32, price: Option<Price>, size: u64) -> Option<Entry> {
    let number = instrument(security_id);
    let (side, instrument) = match entry_type {
        b'0' => (Side::Buy, Instrument::Number(number)),
        b'1' => (Side::Sell, Instrument::Number(number)),
        b'E' => (Side::Buy, Instrument::Implied(number)),
        b'F' => (Side::Sell, Instrument::Implied(number)),
        b'J' => {
            let (action, side, price, size) = (Action::Delete, Side::None, None, 0);
            let instrument = Instrument::Number(number);
            return Some(Entry { action, side, price, size, instrument, reference: 0 });
        }
        b'x' => return Some(best_of_market(Side::Buy, action, number, price, size)),
        b'w' => return Some(best_of_market(Side::Sell, action, number, price, size)),
        _ => return None,
    };
    let action = match action {
        0 => Action::Add,
        1 | 5 => Action::Change,
        2..=4 => Action::Delete,
        _ => return None,
    };
    Some(Entry { action, side, price, size, instrument, reference: 0 })
}

/// The best price of the whole market on a side, whoever may trade on it: no level of the book. Its deletion is a
/// quote of nothing.
#[inline]
fn best_of_market(side: Side, action: u8, number: u64, price: Option<Price>, size: u64) -> Entry {
    let (price, size) = if matches!(action, 2..=4) { (None, 0) } else { (price, size) };
    let instrument = Instrument::Number(number);
    Entry { action: Action::Quote, side, price, size, instrument, reference: 0 }
}

/// A trade or its bust; `None` for corrections and unknown actions.
#[inline]
fn trade(
    aggressor: u8,
    action: u8,
    security_id: I32,
    price: Option<Price>,
    size: u64,
    reference: u64,
) -> Option<Entry> {
    let action = match action {
        0 => Action::Trade,
        2 => Action::Break,
        _ => return None,
    };
    let side = match aggressor {
        1 => Side::Buy,
        2 => Side::Sell,
        _ => Side::None,
    };
    Some(Entry {
        action,
        side,
        price,
        size,
        instrument: Instrument::Number(instrument(security_id)),
        reference,
    })
}

/// The instrument's number; CME's are positive, and a damaged one keeps its bits.
#[inline]
fn instrument(security_id: I32) -> u64 {
    u64::from(security_id.get().cast_unsigned())
}

/// A price, unless it is null.
#[inline]
pub(super) fn price(decimals: u8, mantissa: I64) -> Option<Price> {
    let mantissa = mantissa.get();
    if mantissa == PRICE_NULL { None } else { Some(Price::new(mantissa, decimals)) }
}

/// A size; 0 when it is null or (damaged) negative.
#[inline]
fn size(size: I32) -> u64 {
    let size = size.get();
    if size == SIZE_NULL { 0 } else { u64::try_from(size).unwrap_or(0) }
}

/// A 64-bit size; 0 when it is null.
#[inline]
fn size_long(size: U64) -> u64 {
    let size = size.get();
    if size == u64::MAX { 0 } else { size }
}

/// An order id; 0 when it is null.
#[inline]
fn order_id(id: U64) -> u64 {
    let id = id.get();
    if id == u64::MAX { 0 } else { id }
}

/// A trade id; 0 when it is null.
#[inline]
fn trade_id(id: u32) -> u64 {
    if id == TRADE_ID_NULL { 0 } else { u64::from(id) }
}
