//! Hot path: a feed: its lines, and the rules of its streams. Invariant: its lines keep their places.

use super::Sequencer;
use super::streams::FeedEnd;
use crate::event::{Destination, Protocol};
use crate::limits::{LINE_PLACES, LINES_MAX};

/// A feed, configured or found.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub(super) name: Option<String>,
    pub(super) protocol: Protocol,
    // In place, so that a feed that nobody configured allocates nothing when its first packet comes.
    pub(super) lines: [Option<FeedEnd>; LINE_PLACES],
    pub(super) policy: u32,
    // Windows of the policy's size, where it is not the usual one.
    pub(super) windows: Vec<Sequencer>,
}

impl Feed {
    pub(super) fn new(name: Option<String>, protocol: Protocol) -> Feed {
        Feed { name, protocol, lines: [const { None }; LINE_PLACES], policy: 0, windows: Vec::new() }
    }

    /// Enters a line at the first free place; `None` when there is none.
    pub(super) fn join(&mut self, name: Option<String>, destination: Destination) -> Option<u8> {
        let place = self.lines[..LINES_MAX].iter().position(Option::is_none)?;
        self.lines[place] = Some((name, destination));
        Some(place as u8)
    }
}
