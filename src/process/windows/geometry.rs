//! Hot path: the arithmetic of windows and panes.
//!
//! Invariant: window `k` spans `k × slide` up to, not including, `k × slide + length`; both are whole numbers of panes,
//! so that a pane lies in a window or outside of it.

use crate::event::Nanos;

/// How time is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Length of a window, ns.
    pub(super) length_ns: Nanos,
    /// From one window's start to the next one's, ns; not over the length.
    pub(super) slide_ns: Nanos,
    /// Length of a pane, ns.
    pub(super) pane_ns: Nanos,
}

impl Geometry {
    /// Windows of this length at this distance, both over 0.
    pub(super) fn new(length_ns: Nanos, slide_ns: Nanos) -> Geometry {
        let slide_ns = slide_ns.clamp(1, length_ns.max(1));
        let (mut divisor, mut rest) = (length_ns.max(1), slide_ns);
        while rest != 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        Geometry { length_ns: length_ns.max(1), slide_ns, pane_ns: divisor }
    }

    /// Panes of a key that can be in use at a time, when events may be `behind_ns` behind the newest one: one more where
    /// the oldest begins in the middle of the span, and one where the newest does.
    pub(super) fn panes_in_use(&self, behind_ns: Nanos) -> u64 {
        (self.length_ns + behind_ns).div_ceil(self.pane_ns) + 2
    }

    /// The pane of a time.
    #[inline]
    pub(super) fn pane_at(&self, at_ns: Nanos) -> u64 {
        at_ns / self.pane_ns
    }

    /// The first window that a pane lies in.
    #[inline]
    pub(super) fn first_window(&self, pane: u64) -> u64 {
        let end = (pane + 1).saturating_mul(self.pane_ns);
        end.saturating_sub(self.length_ns).div_ceil(self.slide_ns)
    }

    /// The last window that a pane lies in.
    #[inline]
    pub(super) fn last_window(&self, pane: u64) -> u64 {
        pane.saturating_mul(self.pane_ns) / self.slide_ns
    }

    /// When a window begins.
    #[inline]
    pub(super) fn start_ns(&self, window: u64) -> Nanos {
        window.saturating_mul(self.slide_ns)
    }

    /// When a window ends, which is no longer in it.
    #[inline]
    pub(super) fn end_ns(&self, window: u64) -> Nanos {
        self.start_ns(window).saturating_add(self.length_ns)
    }

    /// The panes of a window.
    #[inline]
    pub(super) fn panes(&self, window: u64) -> std::ops::Range<u64> {
        let first = self.start_ns(window) / self.pane_ns;
        first..first + self.length_ns / self.pane_ns
    }

    /// The number of windows, from window 0, that have ended when it is `watermark_ns`.
    #[inline]
    pub(super) fn ended(&self, watermark_ns: Nanos) -> u64 {
        watermark_ns.checked_sub(self.length_ns).map_or(0, |span| span / self.slide_ns + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tumbling_windows_have_one_pane() {
        let geometry = Geometry::new(5, 5);
        assert_eq!(geometry.pane_ns, 5);
        assert_eq!((geometry.first_window(3), geometry.last_window(3), geometry.panes(3)), (3, 3, 3..4));
        assert_eq!((geometry.ended(4), geometry.ended(5), geometry.ended(10)), (0, 1, 2));
        assert_eq!(geometry.panes_in_use(1), 4);
    }

    proptest! {
        #[test]
        fn panes_lie_in_windows_as_times_do(length in 1u64..60, slide in 1u64..60, at in 0u64..10_000) {
            let geometry = Geometry::new(length, slide.min(length));
            let pane = geometry.pane_at(at);
            let naive: Vec<u64> = (0..=at)
                .filter(|window| (geometry.start_ns(*window)..geometry.end_ns(*window)).contains(&at))
                .collect();
            let windows: Vec<u64> = (geometry.first_window(pane)..=geometry.last_window(pane)).collect();
            prop_assert_eq!(&windows, &naive);
            for window in windows {
                prop_assert!(geometry.panes(window).contains(&pane));
                prop_assert!(geometry.ended(geometry.end_ns(window) - 1) <= window);
                prop_assert!(geometry.ended(geometry.end_ns(window)) == window + 1);
            }
        }

        #[test]
        fn no_time_is_too_large(length: u64, slide: u64, at: u64) {
            let geometry = Geometry::new(length / 2, slide);
            let pane = geometry.pane_at(at);
            prop_assert!(geometry.first_window(pane) <= geometry.last_window(pane).saturating_add(1));
            let _ = geometry.end_ns(geometry.last_window(pane));
        }
    }
}
