//! Hot path: every message of TOPS 1.6 and DEEP 1.0 as it stands on the wire (little-endian, unaligned).
//!
//! Invariant: a struct's size is its message's length in the specification, checked at compile time.
//! All of them begin with a type byte, a byte of flags and the time of the event in ns since the Unix epoch;
//! symbols are padded with spaces, prices have four decimals.

use zerocopy::little_endian::{I64, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Digits behind the point in every price of IEX.
pub const PRICE_DECIMALS: u8 = 4;

/// Declares the wire structs with their type letters and lengths, the enum over them, and its parser.
macro_rules! messages {
    ($($(#[$meta:meta])* $name:ident ($($letter:literal)|+, $length:literal) {
        $($(#[$doc:meta])* $field:ident: $kind:ty,)*
    })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
            #[repr(C)]
            pub struct $name {
                /// The type letter.
                pub kind: u8,
                $($(#[$doc])* pub $field: $kind,)*
            }
            const _: () = assert!(size_of::<$name>() == $length);
        )*

        /// One message, borrowed from its packet.
        #[derive(Clone, Copy, Debug)]
        pub enum IexMessage<'a> {
            $($(#[$meta])* $name(&'a $name),)*
        }

        impl<'a> IexMessage<'a> {
            /// The message in `body` (from its type letter on; longer bodies are read up to the known length).
            /// `None` for unknown types and for bodies shorter than their type demands.
            #[inline]
            pub fn parse(body: &'a [u8]) -> Option<IexMessage<'a>> {
                match *body.first()? {
                    $($($letter)|+ => $name::ref_from_prefix(body).ok().map(|(m, _)| IexMessage::$name(m)),)*
                    _ => None,
                }
            }
        }

        /// Bytes that a message of the type `letter` has at least; 1 (the letter) for unknown types.
        #[inline]
        pub(super) const fn bytes_min(letter: u8) -> usize {
            match letter {
                $($($letter)|+ => $length,)*
                _ => 1,
            }
        }
    };
}

messages! {
    /// The market or the data feed reaches a point of its day.
    SystemEvent (b'S', 10) {
        /// O start of messages, S start of system hours, R start of regular hours, M end of regular hours,
        /// E end of system hours, C end of messages.
        event: u8,
        /// When, ns since the Unix epoch.
        time_ns: I64,
    }
    /// What a security is, sent for every security before the day begins.
    SecurityDirectory (b'D', 31) {
        /// Bit 7 test security, bit 6 when issued, bit 5 exchange-traded product.
        flags: u8,
        /// When, ns since the Unix epoch.
        time_ns: I64,
        /// The security.
        symbol: [u8; 8],
        /// Shares of a round lot.
        round_lot: U32,
        /// The previous official closing price, adjusted for corporate actions.
        adjusted_close: I64,
        /// Limit up, limit down: 0 not applicable, 1 or 2 the tier.
        luld_tier: u8,
    }
    /// Whether a security trades.
    TradingStatus (b'H', 22) {
        /// H halted in all markets, O order acceptance after a halt, P paused with order acceptance, T trading.
        status: u8,
        /// When, ns since the Unix epoch.
        time_ns: I64,
        /// The security.
        symbol: [u8; 8],
        /// Why, as four letters padded with spaces.
        reason: [u8; 4],
    }
    /// On which sides retail interest waits.
    RetailLiquidity (b'I', 18) {
        /// Space none, A buy, B sell, C both.
        indicator: u8,
        /// When, ns since the Unix epoch.
        time_ns: I64,
        /// The security.
        symbol: [u8; 8],
    }
    /// Whether IEX itself halted a security for operational reasons.
    OperationalHalt (b'O', 18) {
        /// O halted on IEX, N not halted.
        status: u8,
        /// When, ns since the Unix epoch.
        time_ns: I64,
        /// The security.
        symbol: [u8; 8],
    }
    /// Whether the short sale price test restricts a security.
    ShortSaleTest (b'P', 19) {
        /// 0 not in effect, 1 in effect.
        status: u8,
        /// When, ns since the Unix epoch.
        time_ns: I64,
        /// The security.
        symbol: [u8; 8],
        /// Space none, A activated, C continued from the day before, D deactivated, N not available.
        detail: u8,
    }
    /// The opening or closing process of a security ends.
    SecurityEvent (b'E', 18) {
        /// O opening process complete, C closing process complete.
        event: u8,
        /// When, ns since the Unix epoch.
        time_ns: I64,
        /// The security.
        symbol: [u8; 8],
    }
    /// A price level of the book has a new size (DEEP); type 8 buys, 5 sells.
    PriceLevel (b'8' | b'5', 30) {
        /// Bit 0: the event is complete, the book is consistent.
        flags: u8,
        /// When, ns since the Unix epoch.
        time_ns: I64,
        /// The security.
        symbol: [u8; 8],
        /// All that is quoted at the price; 0 removes the level.
        size: U32,
        /// The level.
        price: I64,
    }
    /// The best bid and ask have changed (TOPS).
    Quote (b'Q', 42) {
        /// Bit 7 not available for trading, bit 6 pre- or post-market session.
        flags: u8,
        /// When, ns since the Unix epoch.
        time_ns: I64,
        /// The security.
        symbol: [u8; 8],
        /// Shares bid at the best price.
        bid_size: U32,
        /// The best bid.
        bid_price: I64,
        /// The best ask.
        ask_price: I64,
        /// Shares asked at the best price.
        ask_size: U32,
    }
    /// A trade.
    Trade (b'T', 38) {
        /// Bit 7 intermarket sweep, 6 extended hours, 5 odd lot, 4 trade-through exempt, 3 single-price cross.
        flags: u8,
        /// When, ns since the Unix epoch.
        time_ns: I64,
        /// The security.
        symbol: [u8; 8],
        /// Shares traded.
        size: U32,
        /// At what price.
        price: I64,
        /// Identity of the trade, unique within the day.
        trade_id: I64,
    }
    /// The official opening or closing price of a security listed at IEX.
    OfficialPrice (b'X', 26) {
        /// Q opening, M closing.
        price_type: u8,
        /// When, ns since the Unix epoch.
        time_ns: I64,
        /// The security.
        symbol: [u8; 8],
        /// The price.
        price: I64,
    }
    /// A trade of this day is taken back.
    TradeBreak (b'B', 38) {
        /// The broken trade's sale condition flags.
        flags: u8,
        /// When, ns since the Unix epoch.
        time_ns: I64,
        /// The security.
        symbol: [u8; 8],
        /// Shares of the broken trade.
        size: U32,
        /// Price of the broken trade.
        price: I64,
        /// Identity of the broken trade.
        trade_id: I64,
    }
    /// How an auction stands, once a second before it matches.
    Auction (b'A', 80) {
        /// O opening, C closing, I initial offering, H halt, V volatility.
        auction_type: u8,
        /// When, ns since the Unix epoch.
        time_ns: I64,
        /// The security.
        symbol: [u8; 8],
        /// Shares paired at the reference price.
        paired_shares: U32,
        /// Clearing price within the reference price range, orders of the auction book only.
        reference_price: I64,
        /// Clearing price of all eligible orders.
        indicative_price: I64,
        /// Shares unpaired at the reference price.
        imbalance_shares: U32,
        /// B buy imbalance, S sell imbalance, N none.
        imbalance_side: u8,
        /// How often the auction was extended.
        extensions: u8,
        /// When the auction should match, seconds since the Unix epoch.
        scheduled_time_s: U32,
        /// Clearing price of the auction book.
        book_clearing_price: I64,
        /// Reference price of the collar.
        collar_reference_price: I64,
        /// Lower end of the collar.
        collar_lower: I64,
        /// Upper end of the collar.
        collar_upper: I64,
    }
}
