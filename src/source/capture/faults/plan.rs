//! Which faults which lines have.
//!
//! Invariant: what is said of a line's address goes before what is said of its letter, and that before what is said of
//! all lines.

use std::ops::Range;

use crate::event::Destination;

/// Letters of lines that nobody named: as many as destinations can be told apart by.
const LETTERS: usize = 8;

/// A line that a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineChoice {
    /// `A` to `H`: CME's groups by their addresses, other destinations in the order in which they first appear.
    Letter(char),
    /// The line of this destination.
    At(Destination),
}

impl LineChoice {
    /// Whether it means the line with this destination and letter.
    pub(super) fn is_of(&self, at: &Destination, letter: Option<char>) -> bool {
        match self {
            LineChoice::Letter(own) => letter == Some(*own),
            LineChoice::At(own) => own == at,
        }
    }
}

/// A value for all lines, and other ones for some.
#[derive(Clone, Debug, PartialEq)]
pub struct PerLine<T> {
    /// For lines that are not named.
    pub all: Option<T>,
    /// For these lines; each at most once.
    pub lines: Vec<(LineChoice, T)>,
}

impl<T> Default for PerLine<T> {
    fn default() -> PerLine<T> {
        PerLine { all: None, lines: Vec::new() }
    }
}

impl<T: Copy> PerLine<T> {
    fn of(&self, at: Option<&Destination>, letter: Option<char>) -> Option<T> {
        let find = |wanted: LineChoice| self.lines.iter().find(|(choice, _)| *choice == wanted);
        at.and_then(|at| find(LineChoice::At(*at)))
            .or_else(|| letter.and_then(|letter| find(LineChoice::Letter(letter))))
            .map(|(_, value)| *value)
            .or(self.all)
    }
}

/// A configured line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedLine {
    /// What it is called in reports.
    pub name: String,
    /// Where its packets go.
    pub destination: Destination,
}

/// The faults of all lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    /// What all chance follows from.
    pub seed: u64,
    /// Configured lines; where there are any, others have no letters.
    pub names: Vec<NamedLine>,
    /// Share of packets that are lost, 0 to 1.
    pub loss: PerLine<f64>,
    /// Mean length of a burst of losses in packets; 1 is independent loss.
    pub loss_burst: PerLine<f64>,
    /// Share of packets that come twice, 0 to 1.
    pub duplicate: PerLine<f64>,
    /// Share of packets that one to eight later ones of their line overtake, 0 to 1.
    pub reorder: PerLine<f64>,
    /// How much later packets come, ns.
    pub delay_ns: PerLine<u64>,
    /// Share of packets with one to eight flipped bits, 0 to 1.
    pub corrupt: PerLine<f64>,
    /// When lines are dead, ns after the first record; `None` is all lines.
    pub dead: Vec<(Option<LineChoice>, Range<u64>)>,
}

/// The faults of one line.
#[derive(Clone, Debug, PartialEq)]
pub struct LineFaults {
    /// Share of packets that are lost.
    pub loss: f64,
    /// Mean length of a burst of losses in packets.
    pub loss_burst: f64,
    /// Share of packets that come twice.
    pub duplicate: f64,
    /// Share of packets that are overtaken.
    pub reorder: f64,
    /// How much later packets come, ns.
    pub delay_ns: u64,
    /// Share of packets with flipped bits.
    pub corrupt: f64,
    /// When the line is dead, ns after the first record.
    pub dead: Vec<Range<u64>>,
}

/// Faults that can't be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FaultPlanError {
    /// Between so short bursts the line would have to be good for less than one packet.
    #[error(
        "bursts of {burst} packets can't make up a loss of {}%: give --loss-burst {least:.2} or more, or 1 for independent \
         loss, which at this rate has bursts by itself",
        rate * 100.0
    )]
    Burst {
        /// The loss.
        rate: f64,
        /// The mean length that was asked for.
        burst: f64,
        /// The shortest one that can be.
        least: f64,
    },
}

impl FaultPlan {
    /// Whether all of it can be.
    ///
    /// # Errors
    /// Bursts are too short for the loss that they are to make up.
    pub fn check(&self) -> Result<(), FaultPlanError> {
        // Which letter an address has is not known yet, so each pair is looked at.
        let mut places = vec![None];
        let mut letters = vec![None];
        for choice in self.choices() {
            match choice {
                LineChoice::At(at) => places.push(Some(at)),
                LineChoice::Letter(letter) => letters.push(Some(letter)),
            }
        }
        for (at, letter) in places.iter().flat_map(|at| letters.iter().map(move |letter| (at, letter))) {
            let LineFaults { loss: rate, loss_burst: burst, .. } = self.faults_of(at.as_ref(), *letter);
            let least = rate / (1.0 - rate);
            if burst > 1.0 && rate < 1.0 && burst < least {
                return Err(FaultPlanError::Burst { rate, burst, least });
            }
        }
        Ok(())
    }

    /// Lines that faults are asked for by name, each once.
    pub(super) fn choices(&self) -> impl Iterator<Item = LineChoice> {
        let shares = [&self.loss, &self.loss_burst, &self.duplicate, &self.reorder, &self.corrupt];
        let named = shares.into_iter().flat_map(|share| share.lines.iter().map(|(choice, _)| *choice));
        let delayed = self.delay_ns.lines.iter().map(|(choice, _)| *choice);
        let dead = self.dead.iter().filter_map(|(choice, _)| *choice);
        let mut choices: Vec<LineChoice> = Vec::new();
        for choice in named.chain(delayed).chain(dead) {
            if !choices.contains(&choice) {
                choices.push(choice);
            }
        }
        choices.into_iter()
    }

    /// Whether it names this destination, by a fault or as a configured line.
    pub(super) fn names(&self, at: &Destination) -> bool {
        self.names.iter().any(|named| named.destination == *at)
            || self.choices().any(|choice| choice == LineChoice::At(*at))
    }

    /// The faults of a line.
    pub(super) fn faults_of(&self, at: Option<&Destination>, letter: Option<char>) -> LineFaults {
        let is_of = |choice: &LineChoice| match choice {
            LineChoice::At(own) => at == Some(own),
            LineChoice::Letter(own) => letter == Some(*own),
        };
        let dead = self.dead.iter().filter(|(choice, _)| choice.as_ref().is_none_or(is_of));
        LineFaults {
            loss: self.loss.of(at, letter).unwrap_or(0.0),
            loss_burst: self.loss_burst.of(at, letter).unwrap_or(1.0),
            duplicate: self.duplicate.of(at, letter).unwrap_or(0.0),
            reorder: self.reorder.of(at, letter).unwrap_or(0.0),
            delay_ns: self.delay_ns.of(at, letter).unwrap_or(0),
            corrupt: self.corrupt.of(at, letter).unwrap_or(0.0),
            dead: dead.map(|(_, range)| range.clone()).collect(),
        }
    }

    /// The letter of a destination that appears for the first time, after so many others that got one by their order.
    pub(super) fn letter(&self, at: &Destination, lettered: &mut usize) -> Option<char> {
        if !self.names.is_empty() {
            return None;
        }
        if let Some(letter) = cme_letter(at) {
            return Some(letter);
        }
        let place = *lettered;
        *lettered += 1;
        (place < LETTERS).then(|| char::from(b'A' + place as u8))
    }

    /// What a line is called in reports.
    pub(super) fn line_name(&self, at: &Destination, letter: Option<char>) -> String {
        let named = self.names.iter().find(|named| named.destination == *at);
        match (named, letter) {
            (Some(named), _) => named.name.clone(),
            (None, Some(letter)) => letter.to_string(),
            (None, None) => at.to_string(),
        }
    }

    /// What a line that was asked for is called.
    pub(super) fn name_of(&self, choice: LineChoice) -> String {
        match choice {
            LineChoice::Letter(letter) => letter.to_string(),
            LineChoice::At(at) => self.line_name(&at, None),
        }
    }
}

/// CME sends line A of each channel to 224.0.31.x and line B to 224.0.32.x.
fn cme_letter(at: &Destination) -> Option<char> {
    match at.address[..15] {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 224, 0, 31] => Some('A'),
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 224, 0, 32] => Some('B'),
        _ => None,
    }
}
