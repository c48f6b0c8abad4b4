//! What a window engine has counted.
//!
//! Invariant: by definition, windows opened are those closed and those open, corrections aside.

/// Of one definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DefinitionBook {
    /// Events that belong to it: each has at least one entry or topic that it looks for.
    pub events: u64,
    /// Windows of a key that got their first event while they were open.
    pub opened: u64,
    /// Windows that closed.
    pub closed: u64,
    /// Corrections of windows that had closed.
    pub corrections: u64,
    /// Events too late for all of its windows, and for corrections.
    pub late: u64,
    /// Events too late for some windows that they belong to, and not for others (sliding windows).
    pub partly_late: u64,
    /// Events or entries of keys that found no room.
    pub keys_full: u64,
    /// Events whose time was too far in the future.
    pub future: u64,
    /// Most windows open at a time.
    pub open_max: u64,
    /// Most keys at a time.
    pub keys_max: u64,
}

impl DefinitionBook {
    /// Windows that are open.
    pub fn open(&self) -> u64 {
        self.opened - self.closed
    }

    /// Adds another engine's book of the same definition. Of the most at a time, the sum is told: an upper bound.
    pub fn merge(&mut self, other: &DefinitionBook) {
        self.events += other.events;
        self.opened += other.opened;
        self.closed += other.closed;
        self.corrections += other.corrections;
        self.late += other.late;
        self.partly_late += other.partly_late;
        self.keys_full += other.keys_full;
        self.future += other.future;
        self.open_max += other.open_max;
        self.keys_max += other.keys_max;
    }
}

/// Of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowBook {
    /// Events that no definition looks for.
    pub unmatched: u64,
    /// Of each definition, in the order of the configuration.
    pub definitions: Vec<DefinitionBook>,
}

impl WindowBook {
    /// Adds the book of another engine with the same definitions.
    pub fn merge(&mut self, other: &WindowBook) {
        self.unmatched += other.unmatched;
        let missing = other.definitions.len().saturating_sub(self.definitions.len());
        self.definitions.extend(std::iter::repeat_n(DefinitionBook::default(), missing));
        for (own, other) in self.definitions.iter_mut().zip(&other.definitions) {
            own.merge(other);
        }
    }
}
