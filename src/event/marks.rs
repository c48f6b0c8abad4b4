//! What an event's place in its stream's sequence means for who processes it.
//!
//! Invariant: an event without marks is the next one of a stream that has lost nothing.

/// A set of marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(pub u8);

impl Marks {
    /// None: the next number of a stream that has lost nothing.
    pub const NONE: Marks = Marks(0);
    /// Numbers right before it have not come, when it was delivered.
    pub const AFTER_GAP: Marks = Marks(1);
    /// It comes behind events with higher numbers of its stream.
    pub const OUT_OF_ORDER: Marks = Marks(1 << 1);
    /// A recovery brought it.
    pub const RECOVERED: Marks = Marks(1 << 2);
    /// Its stream has lost numbers since its last reset or snapshot: what was built from it may be wrong.
    pub const STALE: Marks = Marks(1 << 3);
    /// It was held back until a gap in front of it was closed.
    pub const HELD: Marks = Marks(1 << 4);
    /// It is of a more urgent class than its sender asked for.
    pub const RAISED: Marks = Marks(1 << 5);

    /// Both sets.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }

    /// This set without those of the other.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Marks) -> Marks {
        Marks(self.0 & !other.0)
    }

    /// Whether all of the other set are in this one.
    #[inline]
    pub const fn has(self, other: Marks) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of those that are set, for listings.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(Marks, &str); 6] = [
            (Marks::AFTER_GAP, "after_gap"),
            (Marks::OUT_OF_ORDER, "out_of_order"),
            (Marks::RECOVERED, "recovered"),
            (Marks::STALE, "stale"),
            (Marks::HELD, "held"),
            (Marks::RAISED, "raised"),
        ];
        NAMES.into_iter().filter(move |(mark, _)| self.has(*mark)).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_named() {
        let marks = Marks::STALE.and(Marks::AFTER_GAP);
        assert_eq!(marks.names().collect::<Vec<_>>(), ["after_gap", "stale"]);
        assert!(marks.has(Marks::STALE) && !marks.has(Marks::HELD) && marks.has(Marks::NONE));
        assert_eq!(marks.without(Marks::STALE), Marks::AFTER_GAP);
    }
}
