//! Hot path: the fixed fields of MDP 3.0 templates and how to find them in a message body.
//!
//! Invariant: a struct here is a prefix of its block in every schema version that has the template; a group
//! yields an entry only when the whole group lies inside the body and its block is as long as the struct.

use zerocopy::little_endian::{I32, I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The only schema id of MDP 3.0.
pub(super) const SCHEMA: u16 = 1;

/// Template numbers by name; where a message exists twice, the second (`_9`) has prices with nine decimals.
pub mod template {
    /// All books of the channel are empty, sequence numbers start again.
    pub const CHANNEL_RESET: u16 = 4;
    /// Nothing to say.
    pub const HEARTBEAT: u16 = 12;
    /// Trading status of an instrument or a group.
    pub const SECURITY_STATUS: u16 = 30;
    /// Price levels, schema 5 to 8.
    pub const BOOK: u16 = 32;
    /// Settlement, open interest and the like, schema 5 to 8.
    pub const DAILY_STATISTICS: u16 = 33;
    /// Price limits and bands, schema 5 to 8.
    pub const LIMITS: u16 = 34;
    /// Open, high, low, highest bid, lowest offer, schema 5 to 8.
    pub const SESSION_STATISTICS: u16 = 35;
    /// Single trades, schema 5 to 8.
    pub const TRADE: u16 = 36;
    /// Traded volume.
    pub const VOLUME: u16 = 37;
    /// All levels of an instrument, schema 5 to 8.
    pub const SNAPSHOT: u16 = 38;
    /// Trades with the orders that took part, schema 5 to 8.
    pub const TRADE_SUMMARY: u16 = 42;
    /// Orders without their levels, schema 7 to 8.
    pub const ORDER_BOOK: u16 = 43;
    /// All orders of an instrument, schema 7 to 8.
    pub const ORDER_SNAPSHOT: u16 = 44;
    /// Price levels.
    pub const BOOK_9: u16 = 46;
    /// Orders without their levels.
    pub const ORDER_BOOK_9: u16 = 47;
    /// Trades with the orders that took part.
    pub const TRADE_SUMMARY_9: u16 = 48;
    /// Settlement, open interest and the like.
    pub const DAILY_STATISTICS_9: u16 = 49;
    /// Price limits and bands.
    pub const LIMITS_9: u16 = 50;
    /// Open, high, low, highest bid, lowest offer.
    pub const SESSION_STATISTICS_9: u16 = 51;
    /// All levels of an instrument.
    pub const SNAPSHOT_9: u16 = 52;
    /// All orders of an instrument.
    pub const ORDER_SNAPSHOT_9: u16 = 53;
    /// Price levels with 64-bit sizes.
    pub const BOOK_LONG: u16 = 64;
    /// Trades with 64-bit sizes.
    pub const TRADE_SUMMARY_LONG: u16 = 65;
}

/// Digits behind the point of a template's prices: 7 up to schema 8 (templates below 46), 9 since.
#[inline]
pub(super) const fn price_decimals(template: u16) -> u8 {
    if template < template::BOOK_9 { 7 } else { 9 }
}

/// Where a template's block keeps TransactTime; `None` for templates without one and for unknown ones.
#[inline]
pub(super) const fn transact_time_at(template: u16) -> Option<usize> {
    match template {
        4 | 30 | 32..=37 | 39 | 42 | 43 | 46..=51 | 59..=62 | 64..=67 => Some(0),
        38 | 52 => Some(16),
        44 | 53 => Some(20),
        _ => None,
    }
}

/// Declares packed wire structs with a checked size.
macro_rules! blocks {
    ($($(#[$meta:meta])* $name:ident $length:literal { $($(#[$doc:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
        #[repr(C)]
        pub struct $name { $($(#[$doc])* pub $field: $kind,)* }
        const _: () = assert!(size_of::<$name>() == $length);
    )*};
}

blocks! {
    /// The SBE message header, with which a message body begins.
    SbeHeader 8 {
        /// Bytes of the root block behind the header.
        block_bytes: U16,
        /// Template number.
        template: U16,
        /// Schema id, 1.
        schema: U16,
        /// Schema version.
        version: U16,
    }
    /// Root block of the incremental templates.
    Incremental 9 {
        /// When the event began, ns since the Unix epoch.
        transact_time_ns: U64,
        /// Which parts of the event end with this message, a bit each.
        match_event: u8,
    }
    /// Root block of security status (30).
    SecurityStatus 30 {
        /// When the event began, ns since the Unix epoch.
        transact_time_ns: U64,
        /// Security group, padded with zeros.
        group: [u8; 6],
        /// Product, padded with zeros.
        asset: [u8; 6],
        /// Instrument, or null for a whole group.
        security_id: I32,
        /// Trade date in days since the Unix epoch.
        trade_date: U16,
        /// Which parts of the event end with this message, a bit each.
        match_event: u8,
        /// The trading status.
        status: u8,
        /// Why it changed.
        halt_reason: u8,
        /// An additional event.
        event: u8,
    }
    /// Root block of snapshots by level (38, 52).
    Snapshot 59 {
        /// Number of the last incremental packet that the snapshot contains.
        last_sequence: U32,
        /// Snapshots in this loop.
        reports: U32,
        /// Instrument.
        security_id: I32,
        /// Number of the last update of the instrument that the snapshot contains.
        rpt_seq: U32,
        /// When the last event began, ns since the Unix epoch.
        transact_time_ns: U64,
        /// When the instrument was last changed, ns since the Unix epoch.
        last_update_ns: U64,
        /// Trade date in days since the Unix epoch.
        trade_date: U16,
        /// The trading status.
        status: u8,
        /// Upper price limit.
        high_limit: I64,
        /// Lower price limit.
        low_limit: I64,
        /// Width of the price band.
        max_variation: I64,
    }
    /// Root block of snapshots by order (44, 53).
    OrderSnapshot 28 {
        /// Number of the last incremental packet that the snapshot contains.
        last_sequence: U32,
        /// Snapshots in this loop.
        reports: U32,
        /// Instrument.
        security_id: I32,
        /// Packets that make up this instrument's book.
        chunks: U32,
        /// Which of them this is, from 1.
        chunk: U32,
        /// When the last event began, ns since the Unix epoch.
        transact_time_ns: U64,
    }
    /// A changed price level (32, 46).
    BookEntry 27 {
        /// Price, or null.
        price: I64,
        /// Size of the level, or null.
        size: I32,
        /// Instrument.
        security_id: I32,
        /// Number of this update among the instrument's.
        rpt_seq: U32,
        /// Orders at the level, or null.
        orders: I32,
        /// Level, 1 the best.
        level: u8,
        /// 0 new, 1 change, 2 delete, 3 delete through, 4 delete from, 5 overlay.
        action: u8,
        /// 0 bid, 1 offer, E implied bid, F implied offer, J book reset, w best offer, x best bid of the market.
        entry_type: u8,
    }
    /// A changed price level with a 64-bit size (64).
    BookLongEntry 31 {
        /// Price, or null.
        price: I64,
        /// Size of the level, or null.
        size: U64,
        /// Instrument.
        security_id: I32,
        /// Number of this update among the instrument's.
        rpt_seq: U32,
        /// Orders at the level, or null.
        orders: I32,
        /// Level, 1 the best.
        level: u8,
        /// As in [`BookEntry`].
        action: u8,
        /// As in [`BookEntry`].
        entry_type: u8,
    }
    /// A changed order inside a level of the same message (second group of 32, 46).
    LevelOrder 22 {
        /// Order.
        order_id: U64,
        /// Its priority, smaller is earlier.
        priority: U64,
        /// Its visible size, or null.
        size: I32,
        /// Which entry of the first group it belongs to, from 1.
        entry: u8,
        /// 0 new, 1 update, 2 delete.
        action: u8,
    }
    /// A trade (42, 48).
    TradeSummaryEntry 30 {
        /// Price.
        price: I64,
        /// Quantity traded.
        size: I32,
        /// Instrument.
        security_id: I32,
        /// Number of this update among the instrument's.
        rpt_seq: U32,
        /// Orders that took part.
        orders: I32,
        /// 0 no aggressor, 1 buy, 2 sell.
        aggressor: u8,
        /// 0 new, 1 correction, 2 bust.
        action: u8,
        /// Trade entry id; 0 before schema 8, where these bytes are padding.
        trade_id: U32,
    }
    /// A trade with a 64-bit size (65).
    TradeSummaryLongEntry 34 {
        /// Price.
        price: I64,
        /// Quantity traded.
        size: U64,
        /// Instrument.
        security_id: I32,
        /// Number of this update among the instrument's.
        rpt_seq: U32,
        /// Orders that took part.
        orders: I32,
        /// Trade entry id.
        trade_id: U32,
        /// 0 no aggressor, 1 buy, 2 sell.
        aggressor: u8,
        /// 0 new, 1 correction, 2 bust.
        action: u8,
    }
    /// A single trade (36).
    TradeEntry 30 {
        /// Price.
        price: I64,
        /// Quantity traded.
        size: I32,
        /// Instrument.
        security_id: I32,
        /// Number of this update among the instrument's.
        rpt_seq: U32,
        /// Orders that took part.
        orders: I32,
        /// Trade id.
        trade_id: I32,
        /// 0 no aggressor, 1 buy, 2 sell.
        aggressor: u8,
        /// 0 new, 1 correction, 2 bust.
        action: u8,
    }
    /// An order that took part in a trade (second group of 42, 48).
    TradeOrder 12 {
        /// Order.
        order_id: U64,
        /// What it bought or sold.
        size: I32,
    }
    /// A changed order (43, 47).
    OrderBookEntry 34 {
        /// Order, or null.
        order_id: U64,
        /// Its priority, smaller is earlier.
        priority: U64,
        /// Price, or null.
        price: I64,
        /// Its visible size, or null.
        size: I32,
        /// Instrument.
        security_id: I32,
        /// 0 new, 1 change, 2 delete.
        action: u8,
        /// As in [`BookEntry`].
        entry_type: u8,
    }
    /// A level, a statistic or the last trade of a snapshot (38, 52).
    SnapshotEntry 22 {
        /// Price, or null.
        price: I64,
        /// Size, or null.
        size: I32,
        /// Orders at the level, or null.
        orders: I32,
        /// Level, 1 the best, or null.
        level: i8,
        /// Session of a settlement price, in days since the Unix epoch.
        reference_date: U16,
        /// Kind of an opening price.
        open_close_flag: u8,
        /// Kind of a settlement price, a bit each.
        settlement_type: u8,
        /// As in [`BookEntry`], or a statistic.
        entry_type: u8,
    }
    /// An order of a snapshot (44, 53).
    OrderSnapshotEntry 29 {
        /// Order.
        order_id: U64,
        /// Its priority, smaller is earlier.
        priority: U64,
        /// Price.
        price: I64,
        /// Its visible size.
        size: I32,
        /// As in [`BookEntry`].
        entry_type: u8,
    }
    /// Traded volume (37).
    VolumeEntry 13 {
        /// Cumulative volume of the session.
        size: I32,
        /// Instrument.
        security_id: I32,
        /// Number of this update among the instrument's.
        rpt_seq: U32,
        /// As in [`BookEntry`].
        action: u8,
    }
    /// A statistic of the session (35, 51).
    SessionStatisticsEntry 19 {
        /// Price.
        price: I64,
        /// Instrument.
        security_id: I32,
        /// Number of this update among the instrument's.
        rpt_seq: U32,
        /// Kind of an opening price.
        open_close_flag: u8,
        /// As in [`BookEntry`].
        action: u8,
        /// 4 open, 7 high, 8 low, N highest bid, O lowest offer.
        entry_type: u8,
    }
    /// A statistic of the day (33, 49).
    DailyStatisticsEntry 25 {
        /// Price, or null.
        price: I64,
        /// Quantity, or null.
        size: I32,
        /// Instrument.
        security_id: I32,
        /// Number of this update among the instrument's.
        rpt_seq: U32,
        /// Session of a settlement price, in days since the Unix epoch.
        reference_date: U16,
        /// Kind of a settlement price, a bit each.
        settlement_type: u8,
        /// As in [`BookEntry`].
        action: u8,
        /// 6 settlement, B cleared volume, C open interest, W fixing.
        entry_type: u8,
    }
    /// Limits of an instrument (34, 50).
    LimitsEntry 32 {
        /// Upper price limit, or null.
        high_limit: I64,
        /// Lower price limit, or null.
        low_limit: I64,
        /// Width of the price band, or null.
        max_variation: I64,
        /// Instrument.
        security_id: I32,
        /// Number of this update among the instrument's.
        rpt_seq: U32,
    }
}
