//! Hot path: what TOPS and DEEP messages say of books and trades, in the words of all venues.

use super::messages::{IexMessage, PRICE_DECIMALS};
use crate::event::{Price, Side};
use crate::wire::{Action, Entry, Instrument};
use zerocopy::little_endian::{I64, U32};

/// Tells `found` what the message in `body` says: a quote is two entries (buy, then sell; without price when
/// IEX quotes nothing on that side), a price level a change, or a delete at size 0. IEX names no aggressor.
#[inline]
pub fn entries(body: &[u8], found: &mut impl FnMut(Entry)) {
    let Some(message) = IexMessage::parse(body) else { return };
    match message {
        IexMessage::Quote(quote) => {
            let side = |side, size: U32, price: I64| Entry {
                action: Action::Quote,
                side,
                price: if size.get() == 0 && price.get() == 0 { None } else { Some(exact(price)) },
                size: u64::from(size.get()),
                instrument: Instrument::Symbol(quote.symbol),
                reference: 0,
            };
            found(side(Side::Buy, quote.bid_size, quote.bid_price));
            found(side(Side::Sell, quote.ask_size, quote.ask_price));
        }
        IexMessage::PriceLevel(level) => found(Entry {
            action: if level.size.get() == 0 { Action::Delete } else { Action::Change },
            side: if level.kind == b'8' { Side::Buy } else { Side::Sell },
            price: Some(exact(level.price)),
            size: u64::from(level.size.get()),
            instrument: Instrument::Symbol(level.symbol),
            reference: 0,
        }),
        IexMessage::Trade(t) => found(trade(Action::Trade, t.symbol, t.price, t.size, t.trade_id)),
        IexMessage::TradeBreak(t) => found(trade(Action::Break, t.symbol, t.price, t.size, t.trade_id)),
        _ => {}
    }
}

/// The entry of a trade or its break.
#[inline]
fn trade(action: Action, symbol: [u8; 8], price: I64, size: U32, trade_id: I64) -> Entry {
    Entry {
        action,
        side: Side::None,
        price: Some(exact(price)),
        size: u64::from(size.get()),
        instrument: Instrument::Symbol(symbol),
        reference: trade_id.get().cast_unsigned(),
    }
}

/// A price of the wire, exactly.
#[inline]
const fn exact(price: I64) -> Price {
    Price::new(price.get(), PRICE_DECIMALS)
}
