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

#[cfg(test)]
mod tests {
    use super::super::samples::{AUCTION, TRADE_AND_QUOTE, TRADE_BREAK, unhex};
    use super::entries;
    use crate::event::{Price, Side};
    use crate::wire::{Action, Entry, Instrument};

    fn found(body: &[u8]) -> Vec<Entry> {
        let mut all = Vec::new();
        entries(body, &mut |entry| all.push(entry));
        all
    }

    #[test]
    fn reads_a_real_trade_quote_and_break() {
        let packet = unhex(TRADE_AND_QUOTE);
        let trade = Entry {
            action: Action::Trade,
            side: Side::None,
            price: Some(Price::new(187_300, 4)),
            size: 41,
            instrument: Instrument::Symbol(*b"GOOD    "),
            reference: 135_955,
        };
        assert_eq!(found(&packet[42..80]), [trade]);
        let bid = Entry { action: Action::Quote, side: Side::Buy, size: 247, reference: 0, ..trade };
        let ask = Entry { side: Side::Sell, price: None, size: 0, ..bid };
        assert_eq!(found(&packet[82..]), [bid, ask]);
        let broken = Entry {
            action: Action::Break,
            price: Some(Price::new(299_900, 4)),
            size: 3_860,
            instrument: Instrument::Symbol(*b"ZXIET   "),
            reference: 171_978,
            ..trade
        };
        assert_eq!(found(&unhex(TRADE_BREAK)), [broken]);
        assert_eq!(found(&unhex(AUCTION)), []);
    }

    #[test]
    fn a_level_of_size_zero_leaves_the_book() {
        let mut body = unhex("380188d9e8ab9efecf14414141202020202064000000a0860100000000005500");
        let level = Entry {
            action: Action::Change,
            side: Side::Buy,
            price: Some(Price::new(100_000, 4)),
            size: 100,
            instrument: Instrument::Symbol(*b"AAA     "),
            reference: 0,
        };
        assert_eq!(found(&body), [level], "bytes behind the known length belong to a later version");
        body[0] = b'5';
        body[18] = 0;
        assert_eq!(found(&body), [Entry { action: Action::Delete, side: Side::Sell, size: 0, ..level }]);
        assert_eq!(found(&body[..29]), []);
        assert_eq!(found(&[]), []);
    }
}
