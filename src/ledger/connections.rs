//! The book of connections. Invariant: each connection and each of its bytes has one counted fate.

use crate::event::CloseReason;

/// Connections and their bytes: `opened = Σ closed + open`, `bytes_received = bytes_taken + Σ bytes_lost + bytes_held`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionBook {
    /// Connections that came about, those included that were closed at once for a limit.
    pub opened: u64,
    /// Connections that ended, by [`CloseReason`].
    pub closed: [u64; CloseReason::COUNT],
    /// Connections that are still there.
    pub open: u64,
    /// Bytes received from peers.
    pub bytes_received: u64,
    /// Bytes that were read as units: messages, refused messages, words of a session.
    pub bytes_taken: u64,
    /// Bytes that were received and then lost with their connection (an unfinished frame, what stood behind a broken
    /// one), by its [`CloseReason`].
    pub bytes_lost: [u64; CloseReason::COUNT],
    /// Bytes that are still held.
    pub bytes_held: u64,
    /// Bytes sent to peers.
    pub bytes_sent: u64,
    /// Time that connections spent waiting for room, ns, summed over connections.
    pub blocked_ns: u64,
    /// How often a connection began to wait for room.
    pub blocks: u64,
    /// How often a receive found no buffer and was armed again.
    pub starved: u64,
    /// Datagrams that a socket's own buffer had no room for, as the kernel counts them.
    pub datagrams_dropped: u64,
}

fn add(into: &mut [u64], from: &[u64]) {
    into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
}

impl ConnectionBook {
    /// Adds another part's counters to these.
    pub fn absorb(&mut self, other: &ConnectionBook) {
        self.opened += other.opened;
        add(&mut self.closed, &other.closed);
        self.open += other.open;
        self.bytes_received += other.bytes_received;
        self.bytes_taken += other.bytes_taken;
        add(&mut self.bytes_lost, &other.bytes_lost);
        self.bytes_held += other.bytes_held;
        self.bytes_sent += other.bytes_sent;
        self.blocked_ns += other.blocked_ns;
        self.blocks += other.blocks;
        self.starved += other.starved;
        self.datagrams_dropped += other.datagrams_dropped;
    }

    /// Its equations: words, left side, right side.
    pub fn equations(&self) -> [(&'static str, u64, u64); 2] {
        let lost: u64 = self.bytes_lost.iter().sum();
        [
            ("connections opened = closed + open", self.opened, self.closed.iter().sum::<u64>() + self.open),
            (
                "bytes received = taken + lost + held",
                self.bytes_received,
                self.bytes_taken + lost + self.bytes_held,
            ),
        ]
    }
}
