//! Hot path: tickets of events that wait for a gap in front of them.
//!
//! Invariant: a place is one ticket's until it is released; memory is taken at boot.

use crate::event::Class;
use crate::pool::Ticket;

/// The tickets by place.
pub(super) struct Held {
    places: Vec<Option<(Ticket, Class)>>,
    free: Vec<u32>,
}

impl Held {
    /// Room for `held_max` tickets, at most [`crate::limits::HELD_MAX`].
    pub(super) fn allocate(held_max: usize) -> Held {
        let held_max = held_max.min(crate::limits::HELD_MAX);
        Held {
            places: std::iter::repeat_with(|| None).take(held_max).collect(),
            free: (0..held_max as u32).rev().collect(),
        }
    }

    /// How many there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Keeps a ticket. The caller has seen that there is room.
    pub(super) fn put(&mut self, ticket: Ticket, class: Class) -> u32 {
        let place = self.free.pop().expect("there is room");
        self.places[place as usize] = Some((ticket, class));
        place
    }

    /// Takes a ticket out.
    pub(super) fn take(&mut self, place: u32) -> Option<(Ticket, Class)> {
        let taken = self.places.get_mut(place as usize)?.take();
        if taken.is_some() {
            self.free.push(place);
        }
        taken
    }
}
