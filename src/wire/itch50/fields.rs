//! Hot path: the field types of ITCH 5.0, as they lie in the packet: big-endian and unaligned.
//!
//! Invariant: any bytes are a valid field, so that a message can be viewed in place; and what a field serializes to
//! keeps all that its bytes say (letters outside ASCII come out as Latin-1).

use crate::event::{Nanos, Price};
use serde::{Serialize, Serializer};
use std::fmt::{self, Write};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A one-letter code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Letter(pub u8);

/// Text of fixed width, padded with spaces on the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Alpha<const BYTES: usize>(pub [u8; BYTES]);

/// A two-byte number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Integer2(U16);

/// A four-byte number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Integer4(U32);

/// An eight-byte number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Integer8(U64);

/// A price with four decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Price4(U32);

/// A price with eight decimals, as market-wide circuit breakers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Price8(U64);

/// Nanoseconds since midnight (Eastern time), six bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Timestamp([u8; 6]);

/// What every message begins with.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Serialize,
)]
#[repr(C)]
pub struct Header {
    /// The type's letter.
    pub message_type: Letter,
    /// The instrument's number for the day; 0 where the message is about none.
    pub stock_locate: Integer2,
    /// NASDAQ's internal tracking number.
    pub tracking_number: Integer2,
    /// When NASDAQ generated it.
    pub timestamp: Timestamp,
}

impl Integer2 {
    /// The number.
    #[inline]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl Integer4 {
    /// The number.
    #[inline]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl Integer8 {
    /// The number.
    #[inline]
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl Price4 {
    /// The price.
    #[inline]
    pub fn get(self) -> Price {
        Price::new(i64::from(self.0.get()), 4)
    }
}

impl Price8 {
    /// The price's digits without the point: `10^-8` each. Wider than [`Price`] holds, so it stays an integer.
    #[inline]
    pub fn digits(self) -> u64 {
        self.0.get()
    }
}

impl Timestamp {
    /// Nanoseconds since midnight.
    #[inline]
    pub fn get(self) -> Nanos {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char(char::from(self.0))
    }
}

impl<const BYTES: usize> fmt::Display for Alpha<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let padding = self.0.iter().rev().take_while(|byte| **byte == b' ').count();
        self.0.iter().take(BYTES - padding).try_for_each(|byte| f.write_char(char::from(*byte)))
    }
}

impl fmt::Display for Price8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08}", self.digits() / 100_000_000, self.digits() % 100_000_000)
    }
}

impl Serialize for Letter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<const BYTES: usize> Serialize for Alpha<BYTES> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Integer2 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.get())
    }
}

impl Serialize for Integer4 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.get())
    }
}

impl Serialize for Integer8 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.get())
    }
}

impl Serialize for Price4 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.get())
    }
}

impl Serialize for Price8 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.get())
    }
}
