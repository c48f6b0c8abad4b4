//! One direction of a TCP flow put back in order: segments as they were captured come in, its bytes go out.
//!
//! Invariant: bytes go out in the order of the stream and each one once; of several copies of a byte the first wins.
//! Every payload byte that came in is delivered, held, a duplicate, from before the start, or discarded; what never
//! came is counted as lost when it is given up.

use crate::event::Nanos;

/// Bytes ahead of the next expected one that are believed at once. A capture that loses more in one flow is rare, a
/// damaged sequence number lies within 16 MiB one time in 256; farther jumps must be confirmed by a second segment.
const JUMP_BYTES_MAX: u64 = 16 << 20;

/// What is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The next bytes of the stream.
    Bytes(&'a [u8]),
    /// So many bytes of the stream are missing here: the capture does not hold them.
    Lost(u64),
}

/// One segment of the flow, as a capture shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// Its sequence number.
    pub sequence: u32,
    /// It begins a flow: its payload begins one behind its sequence number.
    pub syn: bool,
    /// The flow ends behind its payload.
    pub fin: bool,
    /// The flow ends at once.
    pub rst: bool,
    /// Its payload.
    pub payload: &'a [u8],
    /// When it was captured.
    pub time_ns: Nanos,
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has no payload.
    Empty,
    /// Some of its bytes are new: they were handed over, or are held and will be.
    New,
    /// All of its bytes had come before, or come after they were given up.
    Duplicate,
    /// All of its bytes stand before the one that the flow began with here.
    BeforeStart,
    /// The flow has ended, by this segment's place in the stream or by a reset.
    AfterEnd,
    /// Its sequence number is not believed.
    Implausible,
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// With all bytes up to its FIN.
    Finished,
    /// By a reset.
    Reset,
}

/// What came of a flow so far. `payload_bytes = bytes + held + duplicate + before_start + discarded`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Segments, those without payload included.
    pub segments: u64,
    /// Payload bytes in them.
    pub payload_bytes: u64,
    /// Bytes handed over.
    pub bytes: u64,
    /// Bytes that had come before, or come after they were given up.
    pub duplicate_bytes: u64,
    /// Bytes from before the start of a flow whose beginning was not captured.
    pub before_start_bytes: u64,
    /// Bytes behind the flow's end, or of segments whose sequence number is not believed.
    pub discarded_bytes: u64,
    /// Bytes of the stream that were given up.
    pub lost_bytes: u64,
    /// Segments that came before what stands before them.
    pub out_of_order: u64,
    /// Segments of which only a part was new.
    pub overlaps: u64,
    /// Segments of which nothing was new.
    pub retransmitted: u64,
}

impl FlowCounts {
    /// Adds another flow's counts.
    pub fn absorb(&mut self, other: &FlowCounts) {
        self.segments += other.segments;
        self.payload_bytes += other.payload_bytes;
        self.bytes += other.bytes;
        self.duplicate_bytes += other.duplicate_bytes;
        self.before_start_bytes += other.before_start_bytes;
        self.discarded_bytes += other.discarded_bytes;
        self.lost_bytes += other.lost_bytes;
        self.out_of_order += other.out_of_order;
        self.overlaps += other.overlaps;
        self.retransmitted += other.retransmitted;
    }
}

/// How much a flow may hold behind a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLimits {
    /// Bytes from the gap's beginning to the end of what is held; at least 1.
    pub bytes_max: usize,
    /// Runs of bytes with gaps between them; at least 1.
    pub runs_max: usize,
}

/// Held bytes without a gap among them, as offsets into the stream.
#[derive(Clone, Copy, Debug)]
struct HeldRun {
    start: u64,
    end: u64,
    /// When its first segment came.
    since_ns: Nanos,
}

/// The announced end of a stream.
#[derive(Clone, Copy, Debug)]
struct Fin {
    at: u64,
    since_ns: Nanos,
}

/// Puts one direction of a TCP flow in order. Offsets count from the flow's first byte, so they never wrap.
#[derive(Debug)]
pub struct Reassembler {
    limits: HoldLimits,
    /// Sequence number of offset 0; `None` before the flow has begun.
    base: Option<u32>,
    /// Offset of the byte that is to be handed over next.
    next: u64,
    /// Held bytes by their offset, modulo its length; without memory while nothing is held.
    ring: Vec<u8>,
    /// In their order, all behind `next`, never touching each other.
    runs: Vec<HeldRun>,
    fin: Option<Fin>,
    /// The sequence number that would confirm a far jump.
    jump: Option<u32>,
    end: Option<End>,
    counts: FlowCounts,
}

impl Reassembler {
    /// A flow of which nothing was seen. It uses memory for held bytes only while it holds some.
    pub fn allocate(limits: HoldLimits) -> Reassembler {
        let limits = HoldLimits { bytes_max: limits.bytes_max.max(1), runs_max: limits.runs_max.max(1) };
        Reassembler {
            limits,
            base: None,
            next: 0,
            ring: Vec::new(),
            runs: Vec::new(),
            fin: None,
            jump: None,
            end: None,
            counts: FlowCounts::default(),
        }
    }

    /// What came of it so far.
    pub fn counts(&self) -> &FlowCounts {
        &self.counts
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Bytes that are held behind a gap.
    pub fn held_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    /// Whether it holds bytes, or its end, behind a gap.
    pub fn is_waiting(&self) -> bool {
        self.waiting_since().is_some()
    }

    /// Since when it waits for the bytes of its first gap.
    pub fn waiting_since(&self) -> Option<Nanos> {
        let fin = self.fin.filter(|_| self.end.is_none()).map(|fin| fin.since_ns);
        self.runs.first().map(|run| run.since_ns).or(fin)
    }

    /// Whether a segment is the SYN of another flow between the same endpoints: this one is to be finished, and
    /// another reassembler takes its place.
    pub fn is_succeeded_by(&self, arrival: &Arrival<'_>) -> bool {
        arrival.syn && !arrival.rst && self.base.is_some_and(|base| base != arrival.sequence.wrapping_add(1))
    }

    /// Takes one segment. With `may_hold` false the flow holds nothing: what is missing before bytes that are there is
    /// given up at once.
    pub fn segment(
        &mut self,
        arrival: &Arrival<'_>,
        may_hold: bool,
        out: &mut impl FnMut(Piece<'_>),
    ) -> Fate {
        self.counts.segments += 1;
        self.counts.payload_bytes += arrival.payload.len() as u64;
        if self.end.is_some() {
            return self.discard(arrival, Fate::AfterEnd);
        }
        if self.is_succeeded_by(arrival) {
            return self.discard(arrival, Fate::Implausible);
        }
        let sequence = arrival.sequence.wrapping_add(u32::from(arrival.syn));
        if self.base.is_none() && !arrival.rst && (arrival.syn || !arrival.payload.is_empty()) {
            self.base = Some(sequence);
        }
        let Some(start) = self.place(sequence, arrival.payload.len()) else {
            return self.discard(arrival, Fate::Implausible);
        };
        if arrival.rst {
            return self.reset(start, arrival, out);
        }
        let fate = self.payload(start, arrival, may_hold, out);
        if arrival.fin {
            self.note_fin(start + arrival.payload.len() as i64, arrival.time_ns);
        }
        if !may_hold {
            self.give_up_all(out);
        }
        fate
    }

    /// What a reset carries is a text about its reason and no part of the stream. One from before what was handed over
    /// is an old one, or a forged one.
    fn reset(&mut self, start: i64, arrival: &Arrival<'_>, out: &mut impl FnMut(Piece<'_>)) -> Fate {
        if start >= self.next as i64 {
            self.give_up_all(out);
            if self.end.is_none() {
                self.close(End::Reset);
            }
        }
        self.discard(arrival, Fate::AfterEnd)
    }

    /// Gives up the gaps that it has waited for since before `before_ns`, and hands over what is behind them.
    pub fn expire(&mut self, before_ns: Nanos, out: &mut impl FnMut(Piece<'_>)) {
        while self.waiting_since().is_some_and(|since| since < before_ns) {
            self.give_up(u64::MAX, out);
        }
    }

    /// Nothing will come any more: gives up all gaps and hands over what is behind them.
    pub fn finish(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        self.give_up_all(out);
        self.let_go();
    }

    /// The offset of a sequence number, negative before the flow's start; `None` if it is not believed.
    fn place(&mut self, sequence: u32, payload_bytes: usize) -> Option<i64> {
        // Only resets and bare acknowledgements come this far before a flow has begun.
        let Some(base) = self.base else { return Some(0) };
        // Truncating is meant: sequence numbers are offsets modulo 2^32.
        let ahead = sequence.wrapping_sub(base.wrapping_add(self.next as u32)) as i32;
        let reach = JUMP_BYTES_MAX.max(self.limits.bytes_max as u64) as i64;
        if i64::from(ahead) > reach {
            if payload_bytes == 0 {
                return None;
            }
            if self.jump != Some(sequence) {
                self.jump = Some(sequence.wrapping_add(payload_bytes as u32));
                return None;
            }
        }
        if payload_bytes > 0 {
            self.jump = None;
        }
        Some(self.next as i64 + i64::from(ahead))
    }

    #[cold]
    fn discard(&mut self, arrival: &Arrival<'_>, fate: Fate) -> Fate {
        self.counts.discarded_bytes += arrival.payload.len() as u64;
        if arrival.payload.is_empty() { Fate::Empty } else { fate }
    }

    /// Sorts a payload's bytes into those that are new and those that are not.
    fn payload(
        &mut self,
        start: i64,
        arrival: &Arrival<'_>,
        may_hold: bool,
        out: &mut impl FnMut(Piece<'_>),
    ) -> Fate {
        let before = usize::try_from(-start).unwrap_or(0).min(arrival.payload.len());
        self.counts.before_start_bytes += before as u64;
        let payload = &arrival.payload[before..];
        let start = start.max(0) as u64;
        let room = self.fin.map_or(u64::MAX, |fin| fin.at.saturating_sub(start));
        let kept = payload.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let behind_end = payload.len() - kept;
        self.counts.discarded_bytes += behind_end as u64;
        let new = self.merge(start, &payload[..kept], arrival.time_ns, may_hold, out);
        let duplicate = kept as u64 - new;
        self.counts.duplicate_bytes += duplicate;
        match arrival.payload.len() {
            0 => Fate::Empty,
            _ if new > 0 => {
                self.counts.overlaps += u64::from(duplicate > 0);
                Fate::New
            }
            _ if duplicate > 0 => {
                self.counts.retransmitted += 1;
                Fate::Duplicate
            }
            _ if behind_end > 0 => Fate::AfterEnd,
            _ => Fate::BeforeStart,
        }
    }

    /// Hands over or holds the bytes that have not come yet; returns how many those were.
    fn merge(
        &mut self,
        start: u64,
        payload: &[u8],
        time_ns: Nanos,
        may_hold: bool,
        out: &mut impl FnMut(Piece<'_>),
    ) -> u64 {
        let end = start + payload.len() as u64;
        let (mut new, mut held) = (0, false);
        let mut at = start.max(self.next);
        while at < end {
            let behind = self.runs.partition_point(|run| run.end <= at);
            let limit = match self.runs.get(behind) {
                Some(run) if run.start <= at => {
                    at = run.end;
                    continue;
                }
                Some(run) => end.min(run.start),
                None => end,
            };
            let part = &payload[(at - start) as usize..(limit - start) as usize];
            if at == self.next {
                self.deliver(part, out);
            } else if self.hold(at, part, behind, time_ns, may_hold) {
                held = true;
            } else {
                // There is no room behind the first gap: it ends, at this place at the latest.
                self.give_up(at, out);
                at = at.max(self.next);
                continue;
            }
            new += part.len() as u64;
            at = limit.max(self.next);
        }
        self.counts.out_of_order += u64::from(held);
        new
    }

    /// Hands over the next bytes of the stream, and what was held right behind them.
    fn deliver(&mut self, bytes: &[u8], out: &mut impl FnMut(Piece<'_>)) {
        self.next += bytes.len() as u64;
        self.counts.bytes += bytes.len() as u64;
        out(Piece::Bytes(bytes));
        self.release(out);
    }

    /// Hands over held bytes that no gap stands before any more; then the flow may be at its end.
    fn release(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        while let Some(run) = self.runs.first().copied().filter(|run| run.start == self.next) {
            let length = (run.end - run.start) as usize;
            let from = (run.start % self.ring.len() as u64) as usize;
            let first = length.min(self.ring.len() - from);
            out(Piece::Bytes(&self.ring[from..from + first]));
            if first < length {
                out(Piece::Bytes(&self.ring[..length - first]));
            }
            self.counts.bytes += length as u64;
            self.next = run.end;
            self.runs.remove(0);
            if self.runs.is_empty() {
                self.let_go();
            }
        }
        self.look_for_end();
    }

    /// Keeps bytes that stand behind a gap, before the run at index `behind`. False if there is no room.
    fn hold(&mut self, at: u64, part: &[u8], behind: usize, time_ns: Nanos, may_hold: bool) -> bool {
        let end = at + part.len() as u64;
        let after_other = behind > 0 && self.runs[behind - 1].end == at;
        let before_other = self.runs.get(behind).is_some_and(|run| run.start == end);
        let adds_run = !after_other && !before_other;
        let full = end - self.next > self.limits.bytes_max as u64
            || (adds_run && self.runs.len() >= self.limits.runs_max);
        if full || !may_hold {
            return false;
        }
        if self.ring.is_empty() {
            self.ring.resize(self.limits.bytes_max, 0);
            self.runs.reserve_exact(self.limits.runs_max);
        }
        let from = (at % self.ring.len() as u64) as usize;
        let first = part.len().min(self.ring.len() - from);
        self.ring[from..from + first].copy_from_slice(&part[..first]);
        self.ring[..part.len() - first].copy_from_slice(&part[first..]);
        match (after_other, before_other) {
            (true, true) => {
                let joined = self.runs.remove(behind);
                let run = &mut self.runs[behind - 1];
                run.end = joined.end;
            }
            (true, false) => self.runs[behind - 1].end = end,
            // It stands before what came earlier, so the gap in front of both is as old as that.
            (false, true) => self.runs[behind].start = at,
            (false, false) => self.runs.insert(behind, HeldRun { start: at, end, since_ns: time_ns }),
        }
        true
    }

    /// Gives up the first gap, up to `limit` at most, and hands over what is right behind it.
    fn give_up(&mut self, limit: u64, out: &mut impl FnMut(Piece<'_>)) {
        let known = self.runs.first().map(|run| run.start).or(self.fin.map(|fin| fin.at));
        let to = limit.min(known.unwrap_or(limit));
        debug_assert!(to > self.next, "only a gap is given up");
        let lost = to.saturating_sub(self.next);
        self.next += lost;
        self.counts.lost_bytes += lost;
        out(Piece::Lost(lost));
        self.release(out);
    }

    fn give_up_all(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        while self.waiting_since().is_some() {
            self.give_up(u64::MAX, out);
        }
    }

    /// Notes where the stream ends; a second word on that, or one from before what was handed over, does not count.
    fn note_fin(&mut self, at: i64, since_ns: Nanos) {
        let held_to = self.runs.last().map_or(self.next, |run| run.end);
        if self.fin.is_none() && self.base.is_some() && at >= held_to as i64 {
            self.fin = Some(Fin { at: at as u64, since_ns });
        }
        self.look_for_end();
    }

    fn look_for_end(&mut self) {
        if self.end.is_none() && self.fin.is_some_and(|fin| fin.at == self.next) {
            self.close(End::Finished);
        }
    }

    fn close(&mut self, end: End) {
        self.end = Some(end);
        self.let_go();
    }

    /// Gives the memory for held bytes back.
    fn let_go(&mut self) {
        self.ring = Vec::new();
        self.runs = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: HoldLimits = HoldLimits { bytes_max: 1_000, runs_max: 4 };

    /// A flow, and what it gave so far, with a mark for each byte that was given up.
    struct Rig {
        flow: Reassembler,
        stream: Vec<Option<u8>>,
    }

    impl Rig {
        fn new(limits: HoldLimits) -> Rig {
            Rig { flow: Reassembler::allocate(limits), stream: Vec::new() }
        }

        fn arrive(&mut self, arrival: Arrival<'_>, may_hold: bool) -> Fate {
            let Rig { flow, stream } = self;
            let fate = flow.segment(&arrival, may_hold, &mut |piece| note(stream, piece));
            self.check();
            fate
        }

        fn data(&mut self, sequence: u32, payload: &[u8]) -> Fate {
            self.arrive(Arrival { sequence, payload, ..Arrival::default() }, true)
        }

        fn finish(&mut self) {
            let Rig { flow, stream } = self;
            flow.finish(&mut |piece| note(stream, piece));
            self.check();
        }

        fn check(&self) {
            let counts = self.flow.counts();
            let fates = counts.bytes
                + self.flow.held_bytes()
                + counts.duplicate_bytes
                + counts.before_start_bytes
                + counts.discarded_bytes;
            assert_eq!(counts.payload_bytes, fates, "{counts:?}");
            let given = self.stream.iter().filter(|byte| byte.is_some()).count() as u64;
            assert_eq!((counts.bytes, counts.lost_bytes), (given, self.stream.len() as u64 - given));
        }

        /// The stream as text; a point is a lost byte.
        fn text(&self) -> String {
            self.stream.iter().map(|byte| byte.map_or('.', char::from)).collect()
        }
    }

    fn note(stream: &mut Vec<Option<u8>>, piece: Piece<'_>) {
        match piece {
            Piece::Bytes(bytes) => {
                assert!(!bytes.is_empty());
                stream.extend(bytes.iter().copied().map(Some));
            }
            Piece::Lost(bytes) => {
                assert!(bytes > 0);
                stream.resize(stream.len() + bytes as usize, None);
            }
        }
    }

    #[test]
    fn a_whole_flow_from_syn_to_fin() {
        let mut rig = Rig::new(LIMITS);
        let syn = Arrival { sequence: u32::MAX - 2, syn: true, ..Arrival::default() };
        assert_eq!(rig.arrive(syn, true), Fate::Empty);
        // Another copy of the same SYN is no other flow.
        assert!(!rig.flow.is_succeeded_by(&syn));
        assert_eq!(rig.arrive(syn, true), Fate::Empty);
        assert_eq!(rig.data(u32::MAX - 1, b"abc"), Fate::New);
        let last = Arrival { sequence: 4, payload: b"gh", fin: true, ..Arrival::default() };
        assert_eq!(rig.arrive(last, true), Fate::New);
        assert_eq!((rig.flow.end(), rig.flow.held_bytes()), (None, 2));
        assert_eq!(rig.data(1, b"def"), Fate::New);
        assert_eq!((rig.text().as_str(), rig.flow.end()), ("abcdefgh", Some(End::Finished)));
        assert_eq!(rig.data(4, b"ghi"), Fate::AfterEnd);
        assert_eq!(rig.flow.counts().discarded_bytes, 3);
        assert!(rig.flow.is_succeeded_by(&Arrival { sequence: 9, syn: true, ..Arrival::default() }));
    }

    #[test]
    fn the_first_copy_of_a_byte_wins() {
        let mut rig = Rig::new(LIMITS);
        rig.data(100, b"ab");
        rig.data(104, b"EF");
        rig.data(108, b"IJ");
        // Overlaps what was handed over, both held runs, and the gap between them.
        assert_eq!(rig.data(101, b"xcdxxghxxk"), Fate::New);
        assert_eq!(rig.text(), "abcdEFghIJk");
        assert_eq!(rig.data(102, b"xx"), Fate::Duplicate);
        assert_eq!(rig.data(90, b"before"), Fate::BeforeStart);
        let counts = rig.flow.counts();
        assert_eq!((counts.overlaps, counts.retransmitted, counts.out_of_order), (1, 1, 2));
        assert_eq!((counts.duplicate_bytes, counts.before_start_bytes, counts.lost_bytes), (7, 6, 0));
    }

    #[test]
    fn a_gap_is_given_up_when_there_is_no_room_behind_it() {
        let mut rig = Rig::new(LIMITS);
        rig.data(0, b"a");
        for run in 0..4 {
            assert_eq!(rig.data(2 + 2 * run, b"b"), Fate::New);
        }
        assert_eq!(rig.text(), "a");
        rig.data(10, b"c");
        assert_eq!(rig.text(), "a.b", "one run too many");
        rig.data(1_010, b"d");
        assert_eq!(rig.text().len(), 11, "too far ahead of each of them");
        assert_eq!(rig.data(3, b"x"), Fate::Duplicate, "too late");
        rig.finish();
        assert_eq!((rig.text().len(), rig.flow.held_bytes()), (1_011, 0));
        // A flow that may not hold never waits.
        let mut poor = Rig::new(LIMITS);
        poor.data(0, b"a");
        poor.arrive(Arrival { sequence: 3, payload: b"b", fin: true, ..Arrival::default() }, false);
        assert_eq!((poor.text().as_str(), poor.flow.end()), ("a..b", Some(End::Finished)));
    }

    #[test]
    fn a_gap_is_given_up_when_it_is_old() {
        let mut rig = Rig::new(LIMITS);
        rig.data(0, b"a");
        rig.arrive(Arrival { sequence: 2, payload: b"c", time_ns: 10, ..Arrival::default() }, true);
        rig.arrive(
            Arrival { sequence: 4, payload: b"e", time_ns: 20, fin: true, ..Arrival::default() },
            true,
        );
        let Rig { flow, stream } = &mut rig;
        flow.expire(10, &mut |piece| note(stream, piece));
        assert_eq!((flow.waiting_since(), stream.len()), (Some(10), 1));
        flow.expire(11, &mut |piece| note(stream, piece));
        assert_eq!((flow.waiting_since(), stream.len()), (Some(20), 3));
        flow.expire(21, &mut |piece| note(stream, piece));
        assert_eq!((rig.text().as_str(), rig.flow.end()), ("a.c.e", Some(End::Finished)));
    }

    #[test]
    fn a_reset_ends_the_flow_with_what_is_there() {
        let mut rig = Rig::new(LIMITS);
        let reset = |sequence| Arrival { sequence, rst: true, payload: b"why", ..Arrival::default() };
        rig.data(100, b"ab");
        rig.data(103, b"d");
        rig.arrive(reset(101), true);
        assert_eq!(rig.flow.end(), None, "an old one");
        rig.arrive(reset(102), true);
        assert_eq!((rig.text().as_str(), rig.flow.end()), ("ab.d", Some(End::Reset)));
        assert_eq!(rig.flow.counts().discarded_bytes, 6);
        let mut unseen = Rig::new(LIMITS);
        unseen.arrive(reset(7), true);
        assert_eq!((unseen.text().as_str(), unseen.flow.end()), ("", Some(End::Reset)));
    }

    #[test]
    fn a_far_jump_needs_a_second_witness() {
        let mut rig = Rig::new(LIMITS);
        rig.data(0, b"ab");
        let far = 2 + JUMP_BYTES_MAX as u32;
        assert_eq!(rig.data(far + 5, b"xyz"), Fate::Implausible);
        assert_eq!(rig.data(2, b"c"), Fate::New);
        assert_eq!(rig.data(far + 8, b"xyz"), Fate::Implausible, "the flow went on elsewhere meanwhile");
        // A bare acknowledgement in between neither confirms nor disturbs.
        assert_eq!(rig.data(far + 11, b""), Fate::Empty);
        assert_eq!(rig.data(far + 11, b"z"), Fate::New);
        let counts = rig.flow.counts();
        assert_eq!((counts.bytes, counts.lost_bytes), (4, u64::from(far) + 11 - 3));
    }

    /// Pieces of a stream of `length` bytes: where each begins, how long it is, and its place in the order of arrival.
    fn pieces(length: usize) -> impl Strategy<Value = Vec<(usize, usize, u32)>> {
        prop::collection::vec((0..length, 1usize..200, any::<u32>()), 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// However a stream was cut up, repeated, overlapped and shuffled, it comes out as it was.
        #[test]
        fn any_shuffle_of_a_stream_gives_it_back(
            stream in prop::collection::vec(any::<u8>(), 1..1_000),
            cuts in prop::collection::vec(1usize..150, 1..30),
            extra in pieces(1_000),
            order in any::<u64>(),
            base in prop_oneof![any::<u32>(), (0u32..2_000).prop_map(|back| u32::MAX - back)],
        ) {
            let mut parts: Vec<(usize, usize, u32)> = extra
                .into_iter()
                .filter(|(start, ..)| *start < stream.len())
                .map(|(start, length, place)| (start, (start + length).min(stream.len()), place))
                .collect();
            let (mut at, mut step) = (0, 0);
            while at < stream.len() {
                let end = (at + cuts[step % cuts.len()]).min(stream.len());
                parts.push((at, end, (order.rotate_left(step as u32 * 7) >> 32) as u32));
                (at, step) = (end, step + 1);
            }
            parts.sort_by_key(|(.., place)| *place);
            let mut rig = Rig::new(HoldLimits { bytes_max: 1_000, runs_max: 1_000 });
            rig.arrive(Arrival { sequence: base, syn: true, ..Arrival::default() }, true);
            for (start, end, _) in parts {
                let sequence = base.wrapping_add(1).wrapping_add(start as u32);
                rig.data(sequence, &stream[start..end]);
            }
            let fin = Arrival { sequence: base.wrapping_add(1).wrapping_add(stream.len() as u32), fin: true, ..Arrival::default() };
            rig.arrive(fin, true);
            prop_assert_eq!(rig.flow.end(), Some(End::Finished));
            prop_assert_eq!(rig.flow.counts().lost_bytes, 0);
            prop_assert_eq!(rig.stream.into_iter().flatten().collect::<Vec<_>>(), stream);
        }

        /// With little room bytes may be lost, but each one that comes out stands where it belongs.
        #[test]
        fn with_little_room_no_byte_is_out_of_place(parts in pieces(2_000), bytes_max in 1usize..300, runs_max in 1usize..4, may_hold in any::<u8>()) {
            let byte = |offset: usize| (offset % 251) as u8;
            let mut rig = Rig::new(HoldLimits { bytes_max, runs_max });
            rig.arrive(Arrival { sequence: u32::MAX - 50, syn: true, ..Arrival::default() }, true);
            for (index, (start, length, _)) in parts.into_iter().enumerate() {
                let payload: Vec<u8> = (start..start + length).map(byte).collect();
                let sequence = (u32::MAX - 49).wrapping_add(start as u32);
                rig.arrive(Arrival { sequence, payload: &payload, ..Arrival::default() }, may_hold >> (index % 8) & 1 == 0);
            }
            rig.finish();
            for (offset, found) in rig.stream.iter().enumerate() {
                prop_assert!(found.is_none_or(|found| found == byte(offset)));
            }
        }

        /// Whatever comes, the books balance and nothing panics.
        #[test]
        fn any_segments_are_taken(
            parts in prop::collection::vec((any::<u32>(), 0u8..16, 0usize..40, any::<bool>(), 0u64..100), 0..60),
            near in any::<bool>(),
        ) {
            let mut rig = Rig::new(HoldLimits { bytes_max: 64, runs_max: 3 });
            let mut stream_bytes = 0u64;
            let payload = [7; 40];
            for (sequence, flags, length, may_hold, time_ns) in parts {
                let sequence = if near { sequence % 128 } else { sequence };
                let arrival = Arrival {
                    sequence,
                    syn: flags == 1,
                    fin: flags == 2 || flags == 1 && length == 3,
                    rst: flags == 3,
                    payload: &payload[..length],
                    time_ns,
                };
                let flow = &mut rig.flow;
                let waited = flow.is_waiting();
                flow.segment(&arrival, may_hold, &mut |piece| stream_bytes += match piece {
                    Piece::Bytes(bytes) => bytes.len() as u64,
                    Piece::Lost(bytes) => bytes,
                });
                prop_assert!(flow.held_bytes() <= 64 && (may_hold || waited || !flow.is_waiting()));
                let counts = *flow.counts();
                prop_assert_eq!(counts.bytes + counts.lost_bytes, stream_bytes);
                prop_assert_eq!(
                    counts.payload_bytes,
                    counts.bytes + flow.held_bytes() + counts.duplicate_bytes + counts.before_start_bytes + counts.discarded_bytes
                );
            }
        }
    }
}
