//! A bounded SPSC ring for loom, with the part of rtrb's interface that pool and queues use.
//!
//! It promises what rtrb documents: a chunk is visible as a whole once it is committed, by a Release store of the
//! index that the other side loads with Acquire; dropping an end sets a flag in the same way. Unlike rtrb it keeps
//! no cached copy of the other side's index: a cached copy only ever makes a side see less.
#![expect(unsafe_code, reason = "loom's cells are checked when run, not when compiled")]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::cell::Cell;

thread_local! {
    // Loom runs the threads of a model on one thread of the machine, so this is one switch for a whole test.
    static BROKEN: Cell<bool> = const { Cell::new(false) };
}

/// Makes rings publish with Relaxed stores from now on in this test: to show that the model notices.
pub fn break_publication() {
    BROKEN.set(true);
}

fn publication() -> Ordering {
    if BROKEN.get() { Ordering::Relaxed } else { Ordering::Release }
}

struct Shared<T> {
    places: Vec<UnsafeCell<Option<T>>>,
    // Both count up and never wrap in a model.
    head: AtomicUsize,
    tail: AtomicUsize,
    abandoned: AtomicBool,
}

// SAFETY: that places are reached by one thread at a time is what the model is there to check.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<T> {}

/// Makes rings.
pub struct RingBuffer;

impl RingBuffer {
    /// The two ends of a ring with `capacity` places.
    #[expect(clippy::new_ret_no_self, reason = "rtrb's interface")]
    pub fn new<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
        let shared = Arc::new(Shared {
            places: (0..capacity).map(|_| UnsafeCell::new(None)).collect(),
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
        });
        (Producer { shared: Arc::clone(&shared), tail: 0 }, Consumer { shared, head: 0 })
    }
}

/// The writing end.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
}

/// The reading end.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    head: usize,
}

impl<T> Producer<T> {
    /// Places that can be written.
    pub fn slots(&self) -> usize {
        self.shared.places.len() - (self.tail - self.shared.head.load(Ordering::Acquire))
    }

    /// A chunk of `count` places.
    pub fn write_chunk_uninit(&mut self, count: usize) -> Result<WriteChunk<'_, T>, usize> {
        let slots = self.slots();
        if count <= slots { Ok(WriteChunk { producer: self, count }) } else { Err(slots) }
    }

    /// Whether the consumer is gone.
    pub fn is_abandoned(&self) -> bool {
        self.shared.abandoned.load(Ordering::Acquire)
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.shared.abandoned.store(true, publication());
    }
}

/// Places to be filled.
pub struct WriteChunk<'a, T> {
    producer: &'a mut Producer<T>,
    count: usize,
}

impl<T> WriteChunk<'_, T> {
    /// Fills and publishes them; yields how many items there were.
    pub fn fill_from_iter(self, items: impl IntoIterator<Item = T>) -> usize {
        let Producer { shared, tail } = self.producer;
        let mut filled = 0;
        for item in items.into_iter().take(self.count) {
            let place = &shared.places[(*tail + filled) % shared.places.len()];
            // SAFETY: loom has just checked that this write is ordered with every other access.
            let before = place.with_mut(|place| unsafe { (*place).replace(item) });
            assert!(before.is_none(), "a place was filled twice");
            filled += 1;
        }
        *tail += filled;
        shared.tail.store(*tail, publication());
        filled
    }
}

impl<T> Consumer<T> {
    /// Items that can be read.
    pub fn slots(&self) -> usize {
        self.shared.tail.load(Ordering::Acquire) - self.head
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots() == 0
    }

    /// A chunk of `count` items.
    pub fn read_chunk(&mut self, count: usize) -> Result<ReadChunk<'_, T>, usize> {
        let slots = self.slots();
        if count <= slots { Ok(ReadChunk { consumer: self, count }) } else { Err(slots) }
    }

    /// Whether the producer is gone.
    pub fn is_abandoned(&self) -> bool {
        self.shared.abandoned.load(Ordering::Acquire)
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.shared.abandoned.store(true, publication());
    }
}

/// Items to be taken; what was taken is given free when this is dropped, as in rtrb.
pub struct ReadChunk<'a, T> {
    consumer: &'a mut Consumer<T>,
    count: usize,
}

impl<T> Iterator for ReadChunk<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.count = self.count.checked_sub(1)?;
        let Consumer { shared, head } = &mut *self.consumer;
        let place = &shared.places[*head % shared.places.len()];
        *head += 1;
        // SAFETY: loom has just checked that this access is ordered with every other one.
        let item = place.with_mut(|place| unsafe { (*place).take() });
        Some(item.expect("a published place is filled"))
    }
}

impl<T> Drop for ReadChunk<'_, T> {
    fn drop(&mut self) {
        self.consumer.shared.head.store(self.consumer.head, publication());
    }
}
