//! The disruptor crate in the place of a queue, polled as Sluice's consumers poll, and rtrb without anything around it.
//!
//! Invariant: what goes through the disruptor is as large as a ticket. Tickets themselves can't, for its readers only look.

use crate::tickets::{Item, PLACES, Pop, Push, push_each};
use disruptor::{
    BusySpin, EventPoller, MissingFreeSlots, MultiProducer, MultiProducerBarrier, Producer,
    SingleConsumerBarrier, SingleProducer, SingleProducerBarrier, build_multi_producer,
    build_single_producer,
};
use rtrb::RingBuffer;
use sluice::pool::{Pool, Ticket};

/// As large as a ticket.
pub(crate) type Word = u64;

const _: () = assert!(size_of::<Word>() == size_of::<Ticket>());

impl Item for Word {
    fn take(_: &mut Pool, count: usize) -> Vec<Word> {
        (0..count as Word).collect()
    }

    fn give(_: &mut Pool, items: Vec<Word>) {
        std::hint::black_box(items);
    }
}

/// The publishing end.
pub(crate) struct Publisher<P>(P);

impl<P: Producer<Word> + Send + 'static> Push for Publisher<P> {
    type Item = Word;

    #[inline]
    fn push(&mut self, items: &mut Vec<Word>) -> usize {
        let mut count = items.len();
        loop {
            let published = self.0.try_batch_publish(count, |places| {
                places.zip(items.drain(..count)).for_each(|(place, item)| *place = item);
            });
            match published {
                Ok(_) => return count,
                Err(MissingFreeSlots(missing)) => count = count.saturating_sub(missing as usize),
            }
            if count == 0 {
                return 0;
            }
        }
    }
}

/// The polling end.
pub(crate) struct Poller<B>(EventPoller<Word, B>);

macro_rules! pop_of_poller {
    ($barrier:ty) => {
        impl Pop for Poller<$barrier> {
            type Item = Word;

            #[inline]
            fn pop(&mut self, max: usize, into: &mut Vec<Word>) -> usize {
                let Ok(mut found) = self.0.take(max as u64) else { return 0 };
                let before = into.len();
                into.extend(&mut found);
                into.len() - before
            }
        }
    };
}

pop_of_poller!(SingleProducerBarrier);
pop_of_poller!(MultiProducerBarrier);

type Single = Publisher<SingleProducer<Word, SingleConsumerBarrier>>;
type Multi = Publisher<MultiProducer<Word, SingleConsumerBarrier>>;

/// A disruptor of one producer.
pub(crate) fn single(_: usize) -> (Vec<Single>, Poller<SingleProducerBarrier>) {
    let (poller, builder) = build_single_producer(PLACES, Word::default, BusySpin).new_event_poller();
    (vec![Publisher(builder.build())], Poller(poller))
}

/// A disruptor of several.
pub(crate) fn multi(producers: usize) -> (Vec<Multi>, Poller<MultiProducerBarrier>) {
    let (poller, builder) = build_multi_producer(PLACES, Word::default, BusySpin).new_event_poller();
    let first = builder.build();
    (std::iter::repeat_with(|| Publisher(first.clone())).take(producers).collect(), Poller(poller))
}

/// The ends of an rtrb ring, an item at a time.
pub(crate) struct Items<T>(T);

impl Push for Items<rtrb::Producer<Ticket>> {
    type Item = Ticket;

    #[inline]
    fn push(&mut self, tickets: &mut Vec<Ticket>) -> usize {
        push_each(tickets, |ticket| self.0.push(ticket).map_err(|rtrb::PushError::Full(ticket)| ticket))
    }
}

impl Pop for Items<rtrb::Consumer<Ticket>> {
    type Item = Ticket;

    #[inline]
    fn pop(&mut self, max: usize, into: &mut Vec<Ticket>) -> usize {
        let before = into.len();
        into.extend((0..max).map_while(|_| self.0.pop().ok()));
        into.len() - before
    }
}

/// The ends of an rtrb ring, by chunks.
pub(crate) struct Chunks<T>(T);

impl Push for Chunks<rtrb::Producer<Ticket>> {
    type Item = Ticket;

    #[inline]
    fn push(&mut self, tickets: &mut Vec<Ticket>) -> usize {
        let count = tickets.len().min(self.0.slots());
        let Ok(chunk) = self.0.write_chunk_uninit(count) else { return 0 };
        chunk.fill_from_iter(tickets.drain(..count))
    }
}

impl Pop for Chunks<rtrb::Consumer<Ticket>> {
    type Item = Ticket;

    #[inline]
    fn pop(&mut self, max: usize, into: &mut Vec<Ticket>) -> usize {
        let count = max.min(self.0.slots());
        let Ok(chunk) = self.0.read_chunk(count) else { return 0 };
        into.extend(chunk);
        count
    }
}

/// An rtrb ring, an item at a time.
pub(crate) fn items(_: usize) -> (Vec<Items<rtrb::Producer<Ticket>>>, Items<rtrb::Consumer<Ticket>>) {
    let (producer, consumer) = RingBuffer::new(PLACES);
    (vec![Items(producer)], Items(consumer))
}

/// An rtrb ring, by chunks.
pub(crate) fn chunks(_: usize) -> (Vec<Chunks<rtrb::Producer<Ticket>>>, Chunks<rtrb::Consumer<Ticket>>) {
    let (producer, consumer) = RingBuffer::new(PLACES);
    (vec![Chunks(producer)], Chunks(consumer))
}
