//! Hot path: the messages about the market and its instruments: S R H Y L V W K J h I N O.
//!
//! Invariant: each struct is the message's bytes, field by field in the order of the specification.

use super::fields::{Alpha, Header, Integer4, Integer8, Letter, Price4, Price8};
use serde::Serialize;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `S`: the market day reaches a stage.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SystemEvent {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// `O` start of messages, `S` start of system hours, `Q` start of market hours, `M` end of market hours, `E` end of
    /// system hours, `C` end of messages.
    pub event_code: Letter,
}

/// `R`: an instrument that will trade today.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct StockDirectory {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The symbol.
    pub stock: Alpha<8>,
    /// Listing market: `Q` `G` `S` NASDAQ tiers, `N` NYSE, `A` NYSE American, `P` Arca, `Z` BATS, `V` IEX.
    pub market_category: Letter,
    /// Compliance with listing rules: `N` normal, `D` deficient, `E` delinquent, `Q` bankrupt and their mixtures.
    pub financial_status_indicator: Letter,
    /// Shares in a round lot.
    pub round_lot_size: Integer4,
    /// `Y` if only round lots are accepted.
    pub round_lots_only: Letter,
    /// Class of security, such as `C` common stock, `A` American depositary share.
    pub issue_classification: Letter,
    /// Finer class, such as `Z` (not applicable), `E` ETF.
    pub issue_sub_type: Alpha<2>,
    /// `P` live, `T` test.
    pub authenticity: Letter,
    /// `Y` if under SEC rule 203(b)(3), `N` if not, space if not known.
    pub short_sale_threshold_indicator: Letter,
    /// `Y` if it is set up for an IPO release.
    pub ipo_flag: Letter,
    /// `1` or `2`, space where limit-up-limit-down does not apply.
    pub luld_reference_price_tier: Letter,
    /// `Y` for an exchange traded product.
    pub etp_flag: Letter,
    /// Leverage of the product, 0 for none.
    pub etp_leverage_factor: Integer4,
    /// `Y` for an inverse product.
    pub inverse_indicator: Letter,
}

/// `H`: trading in an instrument stops or resumes, on all markets.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct TradingAction {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The symbol.
    pub stock: Alpha<8>,
    /// `H` halted, `P` paused, `Q` quotation only, `T` trading.
    pub trading_state: Letter,
    /// Not used.
    pub reserved: Letter,
    /// Code of the reason, such as `LUDP`, `IPO1`.
    pub reason: Alpha<4>,
}

/// `Y`: a short-sale price test begins or ends (Reg SHO).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RegShoRestriction {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The symbol.
    pub stock: Alpha<8>,
    /// `0` none, `1` in effect by an intraday drop, `2` remains in effect.
    pub reg_sho_action: Letter,
}

/// `L`: a market maker's position in an instrument.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MarketParticipantPosition {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The firm.
    pub mpid: Alpha<4>,
    /// The symbol.
    pub stock: Alpha<8>,
    /// `Y` or `N`.
    pub primary_market_maker: Letter,
    /// `N` normal, `P` passive, `S` syndicate, `R` pre-syndicate, `L` penalty.
    pub market_maker_mode: Letter,
    /// `A` active, `E` excused, `W` withdrawn, `S` suspended, `D` deleted.
    pub market_participant_state: Letter,
}

/// `V`: the prices at which market-wide circuit breakers will act today.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MwcbDeclineLevel {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// First level.
    pub level_1: Price8,
    /// Second level.
    pub level_2: Price8,
    /// Third level.
    pub level_3: Price8,
}

/// `W`: a market-wide circuit breaker has acted.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MwcbStatus {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// `1`, `2` or `3`.
    pub breached_level: Letter,
}

/// `K`: when quoting in an IPO begins.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct IpoQuotingPeriod {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The symbol.
    pub stock: Alpha<8>,
    /// Seconds since midnight.
    pub ipo_quotation_release_time: Integer4,
    /// `A` anticipated, `C` cancelled or postponed.
    pub ipo_quotation_release_qualifier: Letter,
    /// The IPO's price.
    pub ipo_price: Price4,
}

/// `J`: the price collars of the auction that ends a limit-up-limit-down pause.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct LuldAuctionCollar {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The symbol.
    pub stock: Alpha<8>,
    /// What the collars were computed from.
    pub auction_collar_reference_price: Price4,
    /// Upper collar.
    pub upper_auction_collar_price: Price4,
    /// Lower collar.
    pub lower_auction_collar_price: Price4,
    /// How often the auction was extended.
    pub auction_collar_extension: Integer4,
}

/// `h`: one market alone stops or resumes trading in an instrument.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct OperationalHalt {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The symbol.
    pub stock: Alpha<8>,
    /// `Q` NASDAQ, `B` BX, `X` PSX.
    pub market_code: Letter,
    /// `H` halted, `T` resumed.
    pub operational_halt_action: Letter,
}

/// `I`: net order imbalance before a cross.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Imbalance {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// Shares that match at the current reference price.
    pub paired_shares: Integer8,
    /// Shares that do not.
    pub imbalance_shares: Integer8,
    /// `B` buy, `S` sell, `N` none, `O` too few orders to tell, `P` paused.
    pub imbalance_direction: Letter,
    /// The symbol.
    pub stock: Alpha<8>,
    /// Clearing price of the cross orders alone.
    pub far_price: Price4,
    /// Clearing price of cross and continuous orders.
    pub near_price: Price4,
    /// Price that the shares were computed at.
    pub current_reference_price: Price4,
    /// `O` opening, `C` closing, `H` halted or paused stock or IPO, `A` extended trading close.
    pub cross_type: Letter,
    /// Band of the difference between near price and reference price.
    pub price_variation_indicator: Letter,
}

/// `N`: retail interest at the best price (Retail Price Improvement).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RetailInterest {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The symbol.
    pub stock: Alpha<8>,
    /// `B` on the buy side, `S` sell, `A` both, `N` none.
    pub interest_flag: Letter,
}

/// `O`: price discovery of a direct listing with a capital raise.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DirectListingPriceDiscovery {
    /// Type, instrument number, tracking number and time.
    #[serde(flatten)]
    pub header: Header,
    /// The symbol.
    pub stock: Alpha<8>,
    /// `Y` if it may be released for trading, `N` if not.
    pub open_eligibility_status: Letter,
    /// 20 % below the registration range's low end.
    pub minimum_allowable_price: Price4,
    /// 80 % above the registration range's high end.
    pub maximum_allowable_price: Price4,
    /// Price that the cross would have now.
    pub near_execution_price: Price4,
    /// When that price was set; the specification names no unit.
    pub near_execution_time: Integer8,
    /// Lower collar around the near execution price.
    pub lower_price_range_collar: Price4,
    /// Upper collar around the near execution price.
    pub upper_price_range_collar: Price4,
}
