//! Hot path: values as exact decimals with nine digits behind the point, and sums of them.
//!
//! Invariant: arithmetic never wraps; what would, stays at the end of the range and says so.

use crate::event::Price;
use std::fmt;

/// Digits behind the point: all prices of all decoded venues fit.
const DECIMALS: usize = 9;

/// One.
const UNIT: i128 = 10i128.pow(DECIMALS as u32);

/// Largest magnitude that is taken for a value, in units of 10⁻⁹: the largest price without decimals.
const MAGNITUDE_MAX: i128 = i64::MAX as i128 * UNIT;

/// A number in units of 10⁻⁹.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fixed(
    /// How many units.
    pub i128,
);

impl Fixed {
    /// A price. Digits behind the ninth decimal, which no decoded venue has, are cut off.
    #[inline]
    pub fn of_price(price: Price) -> Fixed {
        let decimals = u32::from(price.decimals);
        let mantissa = i128::from(price.mantissa);
        match decimals.checked_sub(DECIMALS as u32) {
            None => Fixed(mantissa * 10i128.pow(DECIMALS as u32 - decimals)),
            Some(more) => Fixed(10i128.checked_pow(more).map_or(0, |scale| mantissa / scale)),
        }
    }

    /// A binary fraction, rounded to the next unit; `None` for what is no number or too large.
    #[inline]
    pub fn of_f32(value: f32) -> Option<Fixed> {
        let units = (f64::from(value) * UNIT as f64).round();
        // Comparisons with what is no number are false.
        (units.abs() <= MAGNITUDE_MAX as f64).then_some(Fixed(units as i128))
    }

    /// A decimal number as text: a sign, digits, a point, digits. What stands behind the ninth decimal is cut off; `None`
    /// for anything else, for exponents, and for numbers over 9.2 × 10¹⁸.
    #[inline]
    pub fn parse(text: &[u8]) -> Option<Fixed> {
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        let mut units = 0i128;
        let mut behind_point = None;
        let mut any = false;
        for byte in digits {
            match (byte, behind_point) {
                (b'.', None) => behind_point = Some(0),
                (b'0'..=b'9', Some(DECIMALS)) => any = true,
                (b'0'..=b'9', place) => {
                    any = true;
                    behind_point = place.map(|place| place + 1);
                    units = units * 10 + i128::from(byte - b'0');
                    if units > MAGNITUDE_MAX {
                        return None;
                    }
                }
                _ => return None,
            }
        }
        let missing = DECIMALS - behind_point.unwrap_or(0);
        units *= 10i128.pow(missing as u32);
        let fits = any && units <= MAGNITUDE_MAX;
        fits.then_some(Fixed(if negative { -units } else { units }))
    }

    /// The nearest binary fraction, for plots and tolerances.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / UNIT as f64
    }
}

impl fmt::Display for Fixed {
    /// Exactly, without zeros at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (magnitude, unit) = (self.0.unsigned_abs(), UNIT.unsigned_abs());
        let (whole, mut fraction) = (magnitude / unit, magnitude % unit);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let mut width = DECIMALS;
        while fraction % 10 == 0 {
            (fraction, width) = (fraction / 10, width - 1);
        }
        write!(f, "{sign}{whole}.{fraction:0width$}")
    }
}

/// Adds, and says in `exact` when the sum left its range.
#[inline]
pub(super) fn add(sum: &mut i128, more: Option<i128>, exact: &mut bool) {
    match more.and_then(|more| sum.checked_add(more)) {
        Some(total) => *sum = total,
        None => *exact = false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prices_of_all_venues_keep_all_their_digits() {
        for (price, text) in [
            (Price::new(1_234_500, 4), "123.45"),
            (Price::new(-5, 2), "-0.05"),
            (Price::new(i64::MAX, 0), "9223372036854775807"),
            (Price::new(i64::MIN, 9), "-9223372036.854775808"),
            (Price::new(1_999, 12), "0.000000001"),
            (Price::new(7, 255), "0"),
        ] {
            assert_eq!(Fixed::of_price(price).to_string(), text);
        }
    }

    #[test]
    fn texts_that_are_decimal_numbers_are_values_and_no_others() {
        for (text, value) in [
            ("31.2", Some(31_200_000_000)),
            ("-0.000000001", Some(-1)),
            ("+7", Some(7_000_000_000)),
            (".5", Some(500_000_000)),
            ("5.", Some(5_000_000_000)),
            ("1.9999999999999", Some(1_999_999_999)),
            ("9223372036854775807", Some(i128::from(i64::MAX) * UNIT)),
            ("9223372036854775808", None),
            ("", None),
            (".", None),
            ("-", None),
            ("1e5", None),
            ("1.2.3", None),
            (" 1", None),
            ("NaN", None),
        ] {
            assert_eq!(Fixed::parse(text.as_bytes()).map(|fixed| fixed.0), value, "{text:?}");
        }
        assert_eq!(Fixed::of_f32(0.5), Some(Fixed(500_000_000)));
        assert_eq!((Fixed::of_f32(f32::NAN), Fixed::of_f32(f32::MAX)), (None, None));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(units in -i128::from(u64::MAX)..i128::from(u64::MAX)) {
            prop_assert_eq!(Fixed::parse(Fixed(units).to_string().as_bytes()), Some(Fixed(units)));
        }

        #[test]
        fn any_bytes_are_a_number_or_not(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Fixed::parse(&text);
        }

        #[test]
        fn any_price_has_a_value(mantissa: i64, decimals: u8) {
            let value = Fixed::of_price(Price::new(mantissa, decimals)).0;
            prop_assert!(value.abs() <= MAGNITUDE_MAX + UNIT);
        }
    }
}
