//! The book of a capture's TCP flows. Invariant: each payload byte of a segment that was understood has one counted fate.

/// Payload bytes: `captured = in order + duplicate + before start + discarded`, and
/// `in order = to connections + unknown protocol + no place + given up`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct FlowBook {
    /// Segments, those without payload included.
    pub segments: u64,
    /// Segments that came before what stands before them.
    pub out_of_order: u64,
    /// Segments of which nothing was new.
    pub retransmitted: u64,
    /// Segments of which only a part was new.
    pub overlaps: u64,
    /// Segments of which nothing was counted here, because there was no place for another flow.
    pub unplaced: u64,
    /// Payload bytes of segments.
    pub payload_bytes: u64,
    /// Bytes that had come before, or came after they were given up.
    pub duplicate_bytes: u64,
    /// Bytes from before the first one that was captured of their flow in order.
    pub before_start_bytes: u64,
    /// Bytes behind their flow's end, or with a sequence number that is not believed.
    pub discarded_bytes: u64,
    /// Bytes of streams, in their order and each one once.
    pub ordered_bytes: u64,
    /// Those of them that went to a connection.
    pub connection_bytes: u64,
    /// Those of flows whose protocol is not known.
    pub unknown_bytes: u64,
    /// Those of flows that there was no connection, no endpoint or no stream for.
    pub no_place_bytes: u64,
    /// Those of flows that could not be framed any more.
    pub given_up_bytes: u64,
    /// Bytes of streams that the capture does not hold: they never came.
    pub missing_bytes: u64,
}

impl FlowBook {
    /// Adds another part's counters to these.
    pub fn absorb(&mut self, other: &FlowBook) {
        self.segments += other.segments;
        self.out_of_order += other.out_of_order;
        self.retransmitted += other.retransmitted;
        self.overlaps += other.overlaps;
        self.unplaced += other.unplaced;
        self.payload_bytes += other.payload_bytes;
        self.duplicate_bytes += other.duplicate_bytes;
        self.before_start_bytes += other.before_start_bytes;
        self.discarded_bytes += other.discarded_bytes;
        self.ordered_bytes += other.ordered_bytes;
        self.connection_bytes += other.connection_bytes;
        self.unknown_bytes += other.unknown_bytes;
        self.no_place_bytes += other.no_place_bytes;
        self.given_up_bytes += other.given_up_bytes;
        self.missing_bytes += other.missing_bytes;
    }

    /// Its equations: words, left side, right side. True once all flows have ended.
    pub fn equations(&self) -> [(&'static str, u64, u64); 2] {
        let not_new = self.duplicate_bytes + self.before_start_bytes + self.discarded_bytes;
        let without_connection = self.unknown_bytes + self.no_place_bytes + self.given_up_bytes;
        [
            (
                "flow bytes captured = in order + duplicate + before start + discarded",
                self.payload_bytes,
                self.ordered_bytes + not_new,
            ),
            (
                "flow bytes in order = to connections + unknown protocol + no place + given up",
                self.ordered_bytes,
                self.connection_bytes + without_connection,
            ),
        ]
    }
}
