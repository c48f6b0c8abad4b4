//! Hot path: tickets of events that wait for another attempt. Invariant: a place is one ticket's until it is taken out;
//! memory is taken at boot.

use crate::pool::Ticket;

/// The tickets by place.
pub(super) struct Parking {
    places: Vec<Option<Ticket>>,
    used: usize,
}

impl Parking {
    /// So many places.
    pub(super) fn allocate(places: usize) -> Parking {
        Parking { places: std::iter::repeat_with(|| None).take(places).collect(), used: 0 }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Puts a ticket to its place.
    ///
    /// # Errors
    /// The place is taken, or there is no such place: the ticket comes back.
    pub(super) fn put(&mut self, place: u32, ticket: Ticket) -> Result<(), Ticket> {
        match self.places.get_mut(place as usize) {
            Some(free) if free.is_none() => {
                *free = Some(ticket);
                self.used += 1;
                Ok(())
            }
            _ => Err(ticket),
        }
    }

    /// Takes a ticket out.
    pub(super) fn take(&mut self, place: u32) -> Option<Ticket> {
        let taken = self.places.get_mut(place as usize)?.take();
        self.used -= usize::from(taken.is_some());
        taken
    }

    /// Takes all out, at the end.
    pub(super) fn take_all(&mut self) -> Vec<Ticket> {
        self.used = 0;
        self.places.iter_mut().filter_map(Option::take).collect()
    }
}
