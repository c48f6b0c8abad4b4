//! Hot path: the way of closed windows from a batch processor to a thread that may write them down.
//!
//! Invariant: telling never waits and never allocates; what finds no place is counted.

use crate::limits::WINDOWS_CLOSED_MAX;
use crate::process::windows::ClosedWindow;
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The processor's end.
pub struct WindowPort {
    ring: Option<Producer<ClosedWindow>>,
    dropped: Arc<AtomicU64>,
}

/// The other end.
pub struct WindowReader {
    ring: Consumer<ClosedWindow>,
    dropped: Arc<AtomicU64>,
}

/// A way for the windows of one processor.
pub fn window_way() -> (WindowPort, WindowReader) {
    let (producer, consumer) = RingBuffer::new(WINDOWS_CLOSED_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let port = WindowPort { ring: Some(producer), dropped: Arc::clone(&dropped) };
    (port, WindowReader { ring: consumer, dropped })
}

impl WindowPort {
    /// A port whose windows nobody wants.
    pub fn closed() -> WindowPort {
        WindowPort { ring: None, dropped: Arc::default() }
    }

    /// Tells one.
    #[inline]
    pub fn tell(&mut self, window: &ClosedWindow) {
        let Some(ring) = &mut self.ring else { return };
        if ring.push(*window).is_err() {
            // Relaxed: a count, which orders nothing; this is its only writer.
            self.dropped.store(self.dropped.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }
}

impl WindowReader {
    /// Takes what was told since, and shows it. At most what the ring holds, so that it ends while the other side goes on.
    pub fn drain(&mut self, mut show: impl FnMut(&ClosedWindow)) {
        for _ in 0..WINDOWS_CLOSED_MAX {
            let Ok(window) = self.ring.pop() else { return };
            show(&window);
        }
    }

    /// Windows that found no place so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::windows::{Aggregates, WindowKey};

    #[test]
    fn what_is_told_comes_out_in_order_and_what_finds_no_place_is_counted() {
        let (mut port, mut reader) = window_way();
        let told = WINDOWS_CLOSED_MAX as u64 + 7;
        for start_ns in 0..told {
            let window = ClosedWindow {
                definition: 0,
                is_correction: false,
                key: WindowKey::TopicId(1),
                start_ns,
                end_ns: start_ns + 1,
                aggregates: Aggregates::default(),
            };
            port.tell(&window);
        }
        let mut shown = Vec::new();
        reader.drain(|window| shown.push(window.start_ns));
        assert_eq!(shown, (0..WINDOWS_CLOSED_MAX as u64).collect::<Vec<_>>());
        assert_eq!(reader.dropped(), 7);
    }
}
