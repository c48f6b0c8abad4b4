//! Hot path: exact decimals wide enough for a price times a size, and how they compare.
//!
//! Invariant: comparing never rounds and never overflows, whatever the numbers of decimals.

use super::Price;
use std::cmp::Ordering;
use std::fmt;

/// Decimals that are kept behind the point at most.
const DECIMALS_MAX: u8 = 18;

/// An exact decimal: `mantissa × 10^-decimals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// Signed digits without the point.
    pub mantissa: i128,
    /// Digits behind the point (0..=18).
    pub decimals: u8,
}

impl Decimal {
    /// A decimal of `mantissa × 10^-decimals`.
    #[inline]
    pub const fn new(mantissa: i128, decimals: u8) -> Decimal {
        Decimal { mantissa, decimals }
    }

    /// Reads `-12.50`: digits with at most one point among them, and a sign; up to 18 of them behind the point. Nothing
    /// else is a number.
    #[inline]
    pub fn parse(text: &[u8]) -> Option<Decimal> {
        let (is_negative, digits) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            (b'+', rest) => (false, rest),
            _ => (false, text),
        };
        let (mut mantissa, mut decimals, mut point, mut count) = (0i128, 0u8, false, 0usize);
        for byte in digits {
            match byte {
                b'0'..=b'9' => {
                    mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                    decimals += u8::from(point);
                    count += 1;
                    if decimals > DECIMALS_MAX {
                        return None;
                    }
                }
                b'.' if !point => point = true,
                _ => return None,
            }
        }
        let mantissa = if is_negative { -mantissa } else { mantissa };
        (count > 0).then_some(Decimal { mantissa, decimals })
    }

    /// What a 32-bit float says, to 18 decimals below 10^18 and to the unit above; `None` for what is no number. Two
    /// floats keep their order, unless they differ by less than that.
    #[inline]
    pub fn from_f32(value: f32) -> Option<Decimal> {
        const LARGE: f64 = 1e18;
        let value = f64::from(value);
        match () {
            () if value.is_nan() => None,
            // `as` saturates: what is beyond is the largest there is.
            () if value.abs() >= LARGE => Some(Decimal::new(value as i128, 0)),
            () => Some(Decimal::new((value * LARGE) as i128, DECIMALS_MAX)),
        }
    }

    /// Both mantissas at the larger number of decimals; `None` where that does not fit.
    #[inline]
    fn aligned(self, other: Decimal) -> Option<(i128, i128, u8)> {
        let decimals = self.decimals.max(other.decimals);
        let scaled = |number: Decimal| {
            number.mantissa.checked_mul(10i128.checked_pow(u32::from(decimals - number.decimals))?)
        };
        Some((scaled(self)?, scaled(other)?, decimals))
    }

    /// How it compares to another one, by value: 1.5 equals 1.50.
    #[inline]
    pub fn compare(self, other: Decimal) -> Ordering {
        if self.decimals == other.decimals {
            return self.mantissa.cmp(&other.mantissa);
        }
        match self.aligned(other) {
            Some((own, others, _)) => own.cmp(&others),
            // The one with fewer decimals is too large to be written with more: its sign decides.
            None if self.decimals < other.decimals => self.mantissa.cmp(&0),
            None => 0.cmp(&other.mantissa),
        }
    }

    /// This less `before`; `None` where it does not fit.
    #[inline]
    pub fn less(self, before: Decimal) -> Option<Decimal> {
        let (own, others, decimals) = self.aligned(before)?;
        Some(Decimal { mantissa: own.checked_sub(others)?, decimals })
    }

    /// Its absolute value; `None` where it does not fit.
    #[inline]
    pub fn absolute(self) -> Option<Decimal> {
        Some(Decimal { mantissa: self.mantissa.checked_abs()?, decimals: self.decimals })
    }

    /// How the change from `before` to this, in basis points of the absolute value of `before`, compares to
    /// `basis_points`: exactly, by multiplying instead of dividing. `None` where `before` is 0 or the difference does not
    /// fit.
    #[inline]
    pub fn compare_change(
        self,
        before: Decimal,
        basis_points: Decimal,
        is_absolute: bool,
    ) -> Option<Ordering> {
        const BASIS_POINTS: u128 = 10_000;
        let (own, others, _) = self.aligned(before)?;
        let difference = own.checked_sub(others)?;
        if others == 0 {
            return None;
        }
        let change_sign = if is_absolute { difference.signum().abs() } else { difference.signum() };
        let (change_sign, wanted_sign) = (change_sign, basis_points.mantissa.signum());
        if change_sign != wanted_sign {
            return Some(change_sign.cmp(&wanted_sign));
        }
        let scale = 10u128.pow(u32::from(basis_points.decimals.min(DECIMALS_MAX)));
        let change = product(difference.unsigned_abs(), BASIS_POINTS * scale);
        let wanted = product(basis_points.mantissa.unsigned_abs(), others.unsigned_abs());
        Some(if change_sign < 0 { wanted.cmp(&change) } else { change.cmp(&wanted) })
    }
}

/// The product of two numbers: its upper and its lower 128 bits, so that tuples compare as products do.
#[inline]
fn product(a: u128, b: u128) -> (u128, u128) {
    const HALF: u32 = 64;
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> HALF, a & LOW, b >> HALF, b & LOW);
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> HALF);
    let (middle, carried) = middle.overflowing_add(a0 * b1);
    let high = a1 * b1 + (middle >> HALF) + (u128::from(carried) << HALF);
    (high, (middle << HALF) | (low & LOW))
}

impl From<Price> for Decimal {
    #[inline]
    fn from(price: Price) -> Decimal {
        Decimal { mantissa: i128::from(price.mantissa), decimals: price.decimals.min(DECIMALS_MAX) }
    }
}

impl From<u64> for Decimal {
    #[inline]
    fn from(value: u64) -> Decimal {
        Decimal { mantissa: i128::from(value), decimals: 0 }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = usize::from(self.decimals.min(DECIMALS_MAX));
        let scale = 10u128.pow(u32::from(self.decimals.min(DECIMALS_MAX)));
        let digits = self.mantissa.unsigned_abs();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        match width {
            0 => write!(f, "{sign}{digits}"),
            _ => write!(f, "{sign}{}.{:0width$}", digits / scale, digits % scale),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).expect("a number")
    }

    #[test]
    fn numbers_are_read_and_printed_exactly() {
        for text in ["0", "-5", "123.4500", "0.000000000000000001", "-0.05", "99999999999999999999.5"] {
            assert_eq!(decimal(text).to_string(), text);
        }
        assert_eq!((decimal("+7."), decimal(".5")), (Decimal::new(7, 0), Decimal::new(5, 1)));
        for text in ["", "-", ".", "1.2.3", "1e5", " 1", "0x1", "0.0000000000000000001", "nan"] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Decimal::parse(&[b'9'; 60]), None);
    }

    #[test]
    fn numbers_compare_by_value_however_large() {
        assert_eq!(decimal("1.50").compare(decimal("1.5")), Ordering::Equal);
        assert_eq!(decimal("-1.50").compare(decimal("1.5")), Ordering::Less);
        let huge = Decimal::new(i128::MAX, 0);
        assert_eq!(huge.compare(Decimal::new(i128::MAX, 18)), Ordering::Greater);
        assert_eq!(Decimal::new(i128::MAX, 18).compare(huge), Ordering::Less);
        assert_eq!(Decimal::new(i128::MIN, 0).compare(Decimal::new(i128::MIN, 18)), Ordering::Less);
        assert_eq!(Decimal::from(Price::new(i64::MIN, 9)).to_string(), "-9223372036.854775808");
    }

    #[test]
    fn floats_keep_their_order() {
        let of = |value: f32| Decimal::from_f32(value).expect("a number");
        assert_eq!(of(0.5).compare(decimal("0.5")), Ordering::Equal);
        assert_eq!(of(f32::INFINITY).compare(of(f32::MAX)), Ordering::Equal);
        assert_eq!(of(2e18).compare(of(1e17)), Ordering::Greater);
        assert_eq!(Decimal::from_f32(f32::NAN), None);
    }

    #[test]
    fn changes_in_basis_points_are_exact() {
        let change = |now: &str, before: &str, points: &str, is_absolute| {
            decimal(now).compare_change(decimal(before), decimal(points), is_absolute)
        };
        assert_eq!(change("100.5", "100", "50", false), Some(Ordering::Equal));
        assert_eq!(change("99.5", "100.00", "50", true), Some(Ordering::Equal));
        assert_eq!(change("99.5", "100", "-50", false), Some(Ordering::Equal));
        assert_eq!(change("99.4", "100", "-50", false), Some(Ordering::Less));
        assert_eq!(change("-99", "-100", "100", false), Some(Ordering::Equal), "up is up below zero, too");
        assert_eq!(change("1", "0", "1", false), None);
        let huge = Decimal::new(i128::MAX, 0);
        assert_eq!(huge.compare_change(Decimal::new(1, 0), huge, false), Some(Ordering::Greater));
    }

    proptest! {
        #[test]
        fn products_compare_as_long_multiplication_does(a: u64, b: u64, c: u64, d: u64, shift in 0u32..64) {
            let small = (u128::from(a) * u128::from(b)).cmp(&(u128::from(c) * u128::from(d)));
            let shifted = |x: u64| u128::from(x) << shift;
            prop_assert_eq!(product(shifted(a), shifted(b)).cmp(&product(shifted(c), shifted(d))), small);
            prop_assert_eq!(product(u128::from(a), u128::from(b)), (0, u128::from(a) * u128::from(b)));
        }

        #[test]
        fn order_is_that_of_integers(a: i64, b: i64, da in 0u8..=18, db in 0u8..=18) {
            let (x, y) = (Decimal::new(a.into(), da), Decimal::new(b.into(), db));
            let scaled = |m: i64, d: u8| i128::from(m) * 10i128.pow(u32::from(18 - d));
            prop_assert_eq!(x.compare(y), scaled(a, da).cmp(&scaled(b, db)));
        }
    }
}
