//! Hot path: a shard's ends of the queues: for each class a lane to each of its workers, with what is staged for it.
//!
//! Invariant: events of one key go to one worker, so that their order is kept.

use crate::event::Class;
use crate::limits::STAGED_MAX;
use crate::pool::Ticket;
use crate::queue::QueueProducer;

/// The way to one worker.
pub(super) struct Lane {
    /// The queue.
    pub(super) producer: QueueProducer,
    /// What is pushed at the end of the turn.
    pub(super) staged: Vec<Ticket>,
}

impl Lane {
    fn new(producer: QueueProducer) -> Lane {
        Lane { producer, staged: Vec::with_capacity(STAGED_MAX) }
    }

    /// Places that are still free when what is staged is in.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.producer.free().saturating_sub(self.staged.len())
    }

    /// Whether nothing waits on this side.
    #[inline]
    pub(super) fn is_flushed(&self) -> bool {
        self.staged.is_empty() && self.producer.kept_back() == 0
    }
}

/// The lanes by class.
pub(super) struct Lanes {
    by_class: [Vec<Lane>; 3],
}

impl Lanes {
    /// Lanes of these producers, by class and worker; one of each class at least.
    pub(super) fn new(producers: [Vec<QueueProducer>; 3]) -> Lanes {
        Lanes { by_class: producers.map(|workers| workers.into_iter().map(Lane::new).collect()) }
    }

    /// The lanes of a class.
    #[inline]
    pub(super) fn of(&self, class: Class) -> &[Lane] {
        &self.by_class[class as usize]
    }

    /// The lanes of a class.
    #[inline]
    pub(super) fn of_mut(&mut self, class: Class) -> &mut [Lane] {
        &mut self.by_class[class as usize]
    }

    /// All lanes.
    #[inline]
    pub(super) fn all(&self) -> impl Iterator<Item = &Lane> {
        self.by_class.iter().flatten()
    }

    /// Whether the keys of a class' events matter: it has several workers.
    #[inline]
    pub(super) fn is_divided(&self, class: Class) -> bool {
        self.of(class).len() > 1
    }

    /// The lane of a class for events of that key.
    #[inline]
    pub(super) fn by_key(&mut self, class: Class, key: u64) -> usize {
        // The key is a hash: its upper half times the number of lanes is as even as a remainder, and needs no division.
        (((key >> 32) * self.of(class).len() as u64) >> 32) as usize
    }

    /// Free places of a class' fullest lane, those apart that realtime events have taken.
    #[inline]
    pub(super) fn room(&self, class: Class) -> usize {
        let free = self.of(class).iter().map(Lane::room).min().unwrap_or(0);
        if class == Class::Realtime { free } else { free.saturating_sub(self.taken_by_realtime()) }
    }

    /// Places of other classes that realtime events have taken.
    #[inline]
    fn taken_by_realtime(&self) -> usize {
        let beyond = |lane: &Lane| lane.producer.kept_back().saturating_sub(lane.producer.keepable());
        self.of(Class::Realtime).iter().map(beyond).sum()
    }

    /// How many events of a class can be kept back, beside those that are. Less urgent ones must not fill the places again
    /// that realtime events have taken: those would find no further ones, and be lost while others wait.
    pub(super) fn keepable(&self, class: Class) -> usize {
        if class == Class::Realtime {
            return usize::MAX;
        }
        let others = Class::ALL.into_iter().filter(|class| *class > Class::Realtime);
        let places: usize =
            others.flat_map(|class| self.of(class)).map(|lane| lane.producer.keepable()).sum();
        places.saturating_sub(self.kept_back_below(Class::Realtime) + self.taken_by_realtime())
    }

    /// Events of a class that wait in a queue, or are staged for it.
    #[inline]
    pub(super) fn waiting(&self, class: Class) -> usize {
        self.of(class).iter().map(|lane| lane.producer.waiting() + lane.staged.len()).sum()
    }

    /// Events of less urgent classes that can be taken back.
    pub(super) fn kept_back_below(&self, class: Class) -> usize {
        let lower = Class::ALL.into_iter().filter(|lower| *lower > class);
        lower.flat_map(|lower| self.of(lower)).map(|lane| lane.producer.kept_back()).sum()
    }

    /// Takes back an event of a less urgent class: of batch before transactional, and of the lane that holds most.
    pub(super) fn take_below(&mut self, class: Class) -> Option<Ticket> {
        let lower = Class::ALL.into_iter().rev().take_while(|lower| *lower > class);
        for lower in lower {
            let fullest = self.of_mut(lower).iter_mut().max_by_key(|lane| lane.producer.kept_back());
            if let Some(ticket) = fullest.and_then(|lane| lane.producer.take_oldest()) {
                return Some(ticket);
            }
        }
        None
    }
}
