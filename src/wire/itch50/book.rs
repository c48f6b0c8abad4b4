//! Hot path: the messages about orders and trades: A F E C X D U P Q B.
//!
//! Invariant: each struct is the message's bytes, field by field in the order of the specification.

use super::fields::{Alpha, Header, Integer4, Integer8, Letter, Price4};
use serde::Serialize;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `A`: an order without attribution enters the book.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct AddOrder {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The order's number for the day.
    pub order_reference_number: Integer8,
    /// `B` buy, `S` sell.
    pub buy_sell_indicator: Letter,
    /// Size.
    pub shares: Integer4,
    /// The symbol.
    pub stock: Alpha<8>,
    /// Display price.
    pub price: Price4,
}

/// `F`: an order whose firm shows its name enters the book.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct AddOrderAttributed {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The order's number for the day.
    pub order_reference_number: Integer8,
    /// `B` buy, `S` sell.
    pub buy_sell_indicator: Letter,
    /// Size.
    pub shares: Integer4,
    /// The symbol.
    pub stock: Alpha<8>,
    /// Display price.
    pub price: Price4,
    /// The firm's MPID.
    pub attribution: Alpha<4>,
}

/// `E`: an order in the book was executed at its display price, in whole or in part.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct OrderExecuted {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The order's number for the day.
    pub order_reference_number: Integer8,
    /// The part that was executed.
    pub executed_shares: Integer4,
    /// The execution's number for the day; a broken trade names it again.
    pub match_number: Integer8,
}

/// `C`: an order in the book was executed at another price than its display price.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct OrderExecutedWithPrice {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The order's number for the day.
    pub order_reference_number: Integer8,
    /// The part that was executed.
    pub executed_shares: Integer4,
    /// The execution's number for the day; a broken trade names it again.
    pub match_number: Integer8,
    /// `Y` if it counts for time and sales and volume, `N` if a cross will report it in bulk.
    pub printable: Letter,
    /// At what price.
    pub execution_price: Price4,
}

/// `X`: an order in the book was cancelled in part.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct OrderCancel {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The order's number for the day.
    pub order_reference_number: Integer8,
    /// The part that was taken away.
    pub cancelled_shares: Integer4,
}

/// `D`: an order leaves the book.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct OrderDelete {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The order's number for the day.
    pub order_reference_number: Integer8,
}

/// `U`: an order leaves the book and another one takes its place, on the same side and for the same firm.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct OrderReplace {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The order that leaves.
    pub original_order_reference_number: Integer8,
    /// The order that enters.
    pub new_order_reference_number: Integer8,
    /// Size of the new order.
    pub shares: Integer4,
    /// Display price of the new order.
    pub price: Price4,
}

/// `P`: an execution against an order that was not displayed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Trade {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// Always 0 since 2010; the hidden order stays unnamed.
    pub order_reference_number: Integer8,
    /// Always `B` since 2014, whatever the hidden order was.
    pub buy_sell_indicator: Letter,
    /// Size.
    pub shares: Integer4,
    /// The symbol.
    pub stock: Alpha<8>,
    /// At what price.
    pub price: Price4,
    /// The execution's number for the day; a broken trade names it again.
    pub match_number: Integer8,
}

/// `Q`: the one bulk trade of a cross.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct CrossTrade {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// Size; 0 when the cross found no match.
    pub shares: Integer8,
    /// The symbol.
    pub stock: Alpha<8>,
    /// At what price.
    pub cross_price: Price4,
    /// The execution's number for the day; a broken trade names it again.
    pub match_number: Integer8,
    /// `O` opening, `C` closing, `H` halted or paused stock or IPO.
    pub cross_type: Letter,
}

/// `B`: a trade is taken back.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BrokenTrade {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The execution that is broken.
    pub match_number: Integer8,
}
