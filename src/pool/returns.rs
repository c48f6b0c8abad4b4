//! Hot path: the way home for tickets. Invariant: a return ring has a place for every slot, so it is never full.

use super::ticket::{Mark, Place, Ticket};
use crate::limits::SHARDS_MAX;
use rtrb::Producer;

/// Gives tickets of one pool back from one other thread: the writing end of an SPSC ring to the pool.
///
/// It outlives the pool harmlessly: what is given back then is forgotten with the pool's memory.
pub struct ReturnPort {
    ring: Producer<Place>,
    mark: Mark,
}

impl ReturnPort {
    pub(super) fn new(ring: Producer<Place>, mark: Mark) -> ReturnPort {
        ReturnPort { ring, mark }
    }

    /// Gives back all tickets and leaves the list empty.
    ///
    /// # Panics
    /// If one of them is another pool's.
    #[inline]
    pub fn give_back(&mut self, tickets: &mut Vec<Ticket>) {
        self.give_back_from(tickets, 0);
    }

    /// Gives back the tickets from index `first` on, published at once.
    fn give_back_from(&mut self, tickets: &mut Vec<Ticket>, first: usize) {
        let count = tickets.len() - first;
        let mark = self.mark;
        match self.ring.write_chunk_uninit(count) {
            Ok(chunk) => {
                // The reader's last accesses to the slots happen before this chunk's commit (Release), which pairs
                // with the Acquire load in `Consumer::slots`, called by `Pool::reclaim`.
                chunk.fill_from_iter(tickets.drain(first..).map(|ticket| ticket.redeem(mark)));
            }
            Err(_) => unreachable!("the ring has a place for every slot, and each slot has one ticket"),
        }
    }
}

/// The return ports of one thread, one for each pool whose tickets it may hold.
pub struct Returns {
    // Indexed by the owner's ShardId.
    ports: [Option<ReturnPort>; SHARDS_MAX],
}

impl Default for Returns {
    fn default() -> Returns {
        Returns { ports: [const { None }; SHARDS_MAX] }
    }
}

impl Returns {
    /// Adds a port; its shard's earlier one, if any, is replaced. Before hot use.
    ///
    /// # Panics
    /// If the shard's id is not below [`SHARDS_MAX`]; no pool is created with such an id.
    pub fn add(&mut self, port: ReturnPort) {
        let owner = usize::from(port.mark.owner().0);
        self.ports[owner] = Some(port);
    }

    /// Gives each ticket back to its own pool and leaves the list empty. Runs of one pool's tickets, as queues yield
    /// them, go home together.
    ///
    /// # Panics
    /// If a ticket's pool has no port here.
    pub fn give_back(&mut self, tickets: &mut Vec<Ticket>) {
        // From the back, so that nothing behind a run has to move up.
        while let Some(owner) = tickets.last().map(Ticket::owner) {
            let run = tickets.iter().rev().take_while(|ticket| ticket.owner() == owner).count();
            let Some(Some(port)) = self.ports.get_mut(usize::from(owner.0)) else {
                panic!("there is no way home for tickets of shard {}", owner.0);
            };
            port.give_back_from(tickets, tickets.len() - run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ShardId;
    use crate::pool::{Pool, PoolPlan};

    fn pool(owner: u8) -> Pool {
        let plan = PoolPlan { slots: [8, 0, 0, 0] };
        Pool::create(&plan, ShardId(owner), &Pool::memory_wish(None)).expect("a small pool can be made").0
    }

    #[test]
    fn mixed_tickets_find_their_own_way_home() {
        let (mut a, mut b) = (pool(0), pool(5));
        let mut returns = Returns::default();
        returns.add(b.attach());
        returns.add(a.attach());
        let mut tickets: Vec<Ticket> = Vec::new();
        for from_a in [true, true, false, true, false, false] {
            let pool = if from_a { &mut a } else { &mut b };
            tickets.extend(pool.acquire(1));
        }
        returns.give_back(&mut tickets);
        assert!(tickets.is_empty());
        assert_eq!((a.in_flight(), b.in_flight()), (3, 3));
        assert_eq!((a.reclaim(), b.reclaim()), (3, 3));
        assert_eq!((a.in_flight(), b.in_flight()), (0, 0));
    }

    #[test]
    #[should_panic(expected = "no way home for tickets of shard 9")]
    fn a_ticket_without_a_port_is_not_lost_silently() {
        let mut other = pool(9);
        Returns::default().give_back(&mut other.acquire(1).into_iter().collect());
    }

    #[test]
    #[should_panic(expected = "a ticket of another pool")]
    fn a_port_refuses_the_tickets_of_another_pool_of_the_same_shard() {
        let (mut a, mut b) = (pool(0), pool(0));
        let mut port = a.attach();
        port.give_back(&mut b.acquire(1).into_iter().collect());
    }

    #[test]
    fn a_port_takes_all_slots_at_once_and_outlives_its_pool() {
        let mut a = pool(0);
        let mut port = a.attach();
        for _ in 0..3 {
            let mut all: Vec<Ticket> = std::iter::from_fn(|| a.acquire(1)).collect();
            assert_eq!(all.len(), 8);
            port.give_back(&mut all);
            assert_eq!(a.reclaim(), 8);
        }
        let mut last: Vec<Ticket> = a.acquire(1).into_iter().collect();
        drop(a);
        port.give_back(&mut last);
        assert!(last.is_empty());
    }
}
