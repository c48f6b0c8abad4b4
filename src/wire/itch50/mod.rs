//! NASDAQ ITCH 5.0: all message types with all fields, the view of each as entries of a book, and message files.
//!
//! Invariant: `ItchMessage::parse` and `length_of` know the same types, and a message is as long as its struct.

mod book;
mod describe;
mod entries;
mod fields;
mod file;
mod message;
mod reference;

pub use book::{
    AddOrder, AddOrderAttributed, BrokenTrade, CrossTrade, OrderCancel, OrderDelete, OrderExecuted,
    OrderExecutedWithPrice, OrderReplace, Trade,
};
pub use describe::describe;
pub use entries::entries;
pub use fields::{Alpha, Header, Integer2, Integer4, Integer8, Letter, Price4, Price8, Timestamp};
pub use file::{Damage, FRAME_BYTES_MAX, FileFramer, Framed, Framing};
pub use message::{ItchMessage, length_of, timestamp, whole_message};
pub use reference::{
    DirectListingPriceDiscovery, Imbalance, IpoQuotingPeriod, LuldAuctionCollar, MarketParticipantPosition,
    MwcbDeclineLevel, MwcbStatus, OperationalHalt, RegShoRestriction, RetailInterest, StockDirectory,
    SystemEvent, TradingAction,
};
