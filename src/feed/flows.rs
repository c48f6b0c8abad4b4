//! The TCP flows of a capture, each direction of a conversation on its own, found in O(1) and bounded in number and
//! memory.
//!
//! Invariant: a flow's events are bytes and losses in the order of its stream, then one end; a flow that has ended is
//! remembered while there is room, so that late copies of its segments do not begin another one.

use super::reassembly::{Arrival, End, Fate, FlowCounts, HoldLimits, Piece, Reassembler};
use crate::event::{Destination, Nanos};
use crate::limits::{FLOW_HOLD_BYTES_MAX, FLOW_RUNS_MAX, FLOWS_HOLDING_MAX, FLOWS_MAX};
use crate::wire::link::Segment;
use std::collections::{HashMap, VecDeque};

/// How long a gap is waited for, in the capture's time: the sender's retransmission comes after one timeout, 1 s at
/// first (RFC 6298), or after two.
const GAP_TIMEOUT_NS: u64 = 3_000_000_000;

/// Without a segment for so long, in the capture's time, a flow gives its place up to others, if it is needed.
const IDLE_NS: u64 = 60_000_000_000;

/// A flow's place in its table; another flow may take it after this one's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowIndex(pub u32);

/// Whose bytes a flow carries, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// The sender.
    pub source: Destination,
    /// The receiver.
    pub destination: Destination,
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowEnd {
    /// With its FIN, and all bytes before it.
    Finished,
    /// By a reset.
    Reset,
    /// By another flow between the same endpoints.
    Succeeded,
    /// It was silent, and its place was needed.
    Idle,
    /// Together with the capture.
    CaptureEnded,
}

/// What is known of a flow at its end; what comes behind that is counted in the table's totals only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowFacts {
    /// Its ends.
    pub key: FlowKey,
    /// Segments and bytes.
    pub counts: FlowCounts,
    /// How it ended.
    pub ended: FlowEnd,
}

/// What a table tells of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEvent<'a> {
    /// Bytes of the stream between these ends, or a loss.
    Piece(&'a FlowKey, Piece<'a>),
    /// It has ended.
    Ended(&'a FlowFacts),
}

/// How large a table may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// Flows at a time, ended ones that are remembered included.
    pub flows_max: usize,
    /// Flows that hold bytes behind a gap at a time; others give their gaps up at once.
    pub holding_max: usize,
    /// What each of those may hold.
    pub hold: HoldLimits,
    /// How long a gap is waited for, ns.
    pub gap_timeout_ns: u64,
    /// How long a flow must be silent to give up its place, ns.
    pub idle_ns: u64,
}

impl Default for FlowLimits {
    fn default() -> FlowLimits {
        FlowLimits {
            flows_max: FLOWS_MAX,
            holding_max: FLOWS_HOLDING_MAX,
            hold: HoldLimits { bytes_max: FLOW_HOLD_BYTES_MAX, runs_max: FLOW_RUNS_MAX },
            gap_timeout_ns: GAP_TIMEOUT_NS,
            idle_ns: IDLE_NS,
        }
    }
}

/// What became of a segment, and whose it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its fate.
    pub fate: Fate,
    /// Its flow; `None` if it carries nothing and belongs to none that is known.
    pub flow: Option<FlowIndex>,
}

/// There is no place for another flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTableFull;

#[derive(Debug)]
struct Flow {
    key: FlowKey,
    reassembler: Reassembler,
    last_ns: Nanos,
    /// It stands in the queue of ended flows, though it may have been succeeded since.
    queued: bool,
    used: bool,
}

/// All flows.
#[derive(Debug)]
pub struct FlowTable {
    limits: FlowLimits,
    flows: Vec<Flow>,
    index: HashMap<FlowKey, u32>,
    /// Places that can be used again.
    free: Vec<u32>,
    /// Ended flows, the first to end in front.
    ended: VecDeque<u32>,
    /// Flows that wait behind a gap.
    waiting: Vec<u32>,
    /// The capture's latest time.
    now: Nanos,
    /// No gap is older than allowed before this time.
    expiry_ns: Nanos,
    /// No flow is idle before this time.
    idle_look_ns: Nanos,
    /// What flows counted that are forgotten.
    forgotten: FlowCounts,
}

impl FlowTable {
    /// An empty table, with room for all its flows; memory for what they hold comes and goes with what is held.
    pub fn allocate(limits: FlowLimits) -> FlowTable {
        let limits = FlowLimits { flows_max: limits.flows_max.clamp(1, u32::MAX as usize), ..limits };
        FlowTable {
            limits,
            flows: Vec::with_capacity(limits.flows_max),
            index: HashMap::with_capacity(limits.flows_max),
            free: Vec::with_capacity(limits.flows_max),
            ended: VecDeque::with_capacity(limits.flows_max),
            waiting: Vec::with_capacity(limits.holding_max),
            now: 0,
            expiry_ns: Nanos::MAX,
            idle_look_ns: 0,
            forgotten: FlowCounts::default(),
        }
    }

    /// The ends of a flow that an event is told of.
    pub fn key(&self, index: FlowIndex) -> Option<&FlowKey> {
        self.flows.get(index.0 as usize).map(|flow| &flow.key)
    }

    /// What came of all segments that were taken, forgotten flows and ended ones included.
    pub fn totals(&self) -> FlowCounts {
        let mut totals = self.forgotten;
        self.flows.iter().filter(|flow| flow.used).for_each(|flow| totals.absorb(flow.reassembler.counts()));
        totals
    }

    /// Whether it knows any flow, ended ones that are remembered included.
    pub fn has_flows(&self) -> bool {
        !self.index.is_empty()
    }

    /// Bytes that flows hold behind their gaps: any segment may set them free.
    pub fn held_bytes(&self) -> u64 {
        self.waiting.iter().map(|index| self.flows[*index as usize].reassembler.held_bytes()).sum()
    }

    /// Takes a segment of the capture; its flow's bytes, and those of others whose gaps became too old, go to `out`. A
    /// flow begins with its SYN or with the first payload that is seen of it.
    ///
    /// # Errors
    /// It would begin a flow that there is no place for. Nothing of it was counted.
    pub fn take(
        &mut self,
        segment: &Segment<'_>,
        time_ns: Nanos,
        out: &mut impl FnMut(FlowIndex, FlowEvent<'_>),
    ) -> Result<Taken, FlowTableFull> {
        self.now = self.now.max(time_ns);
        self.expire(out);
        let arrival = Arrival {
            sequence: segment.sequence,
            syn: segment.syn,
            fin: segment.fin,
            rst: segment.rst,
            payload: segment.payload,
            time_ns: self.now,
        };
        let key = FlowKey { source: segment.source, destination: segment.destination };
        let index = match self.index.get(&key) {
            Some(known) => *known,
            // A bare acknowledgement, or the end of what was never seen.
            None if segment.payload.is_empty() && !segment.syn => {
                return Ok(Taken { fate: Fate::Empty, flow: None });
            }
            None => self.begin(key, out).ok_or(FlowTableFull)?,
        };
        if self.flows[index as usize].reassembler.is_succeeded_by(&arrival) {
            self.end(index, FlowEnd::Succeeded, out);
            self.renew(index);
        }
        let fate = self.feed(index, &arrival, out);
        Ok(Taken { fate, flow: Some(FlowIndex(index)) })
    }

    /// Gives up gaps that are too old at the capture's time `now`.
    pub fn expire_at(&mut self, now: Nanos, out: &mut impl FnMut(FlowIndex, FlowEvent<'_>)) {
        self.now = self.now.max(now);
        self.expire(out);
    }

    /// The capture has ended, or begins again: all flows end, and are forgotten.
    pub fn finish(&mut self, out: &mut impl FnMut(FlowIndex, FlowEvent<'_>)) {
        for index in 0..self.flows.len() as u32 {
            if self.flows[index as usize].used {
                self.end(index, FlowEnd::CaptureEnded, out);
                self.forget(index);
            }
        }
        self.flows.clear();
        self.free.clear();
        self.ended.clear();
        (self.now, self.expiry_ns, self.idle_look_ns) = (0, Nanos::MAX, 0);
    }

    fn feed(
        &mut self,
        index: u32,
        arrival: &Arrival<'_>,
        out: &mut impl FnMut(FlowIndex, FlowEvent<'_>),
    ) -> Fate {
        let Flow { key, reassembler, last_ns, .. } = &mut self.flows[index as usize];
        *last_ns = self.now;
        let (had_ended, waited) = (reassembler.end().is_some(), reassembler.is_waiting());
        let may_hold = waited || self.waiting.len() < self.limits.holding_max;
        let fate = reassembler.segment(arrival, may_hold, &mut |piece| {
            out(FlowIndex(index), FlowEvent::Piece(key, piece));
        });
        self.settle(index, waited, had_ended, out);
        fate
    }

    /// Notes whether a flow waits or has ended, after something happened to it.
    fn settle(
        &mut self,
        index: u32,
        waited: bool,
        had_ended: bool,
        out: &mut impl FnMut(FlowIndex, FlowEvent<'_>),
    ) {
        let reassembler = &self.flows[index as usize].reassembler;
        match reassembler.waiting_since() {
            Some(since) => {
                self.expiry_ns = self.expiry_ns.min(since.saturating_add(self.limits.gap_timeout_ns));
                if !waited {
                    self.waiting.push(index);
                }
            }
            None if waited => self.waiting.retain(|other| *other != index),
            None => {}
        }
        if let Some(end) = reassembler.end().filter(|_| !had_ended) {
            let ended = match end {
                End::Finished => FlowEnd::Finished,
                End::Reset => FlowEnd::Reset,
            };
            self.tell_end(index, ended, out);
            let flow = &mut self.flows[index as usize];
            if !flow.queued {
                flow.queued = true;
                self.ended.push_back(index);
            }
        }
    }

    fn expire(&mut self, out: &mut impl FnMut(FlowIndex, FlowEvent<'_>)) {
        if self.now < self.expiry_ns {
            return;
        }
        let before_ns = self.now.saturating_sub(self.limits.gap_timeout_ns).saturating_add(1);
        self.expiry_ns = Nanos::MAX;
        // From behind, because a flow that stops waiting leaves the list.
        for place in (0..self.waiting.len()).rev() {
            let index = self.waiting[place];
            let Flow { key, reassembler, .. } = &mut self.flows[index as usize];
            reassembler.expire(before_ns, &mut |piece| out(FlowIndex(index), FlowEvent::Piece(key, piece)));
            self.settle(index, true, false, out);
        }
    }

    /// A place for a new flow: one that is free, or that of a flow that ended or fell silent.
    fn begin(&mut self, key: FlowKey, out: &mut impl FnMut(FlowIndex, FlowEvent<'_>)) -> Option<u32> {
        if self.index.len() >= self.limits.flows_max {
            self.make_room(out);
        }
        if self.index.len() >= self.limits.flows_max {
            return None;
        }
        let reassembler = Reassembler::allocate(self.limits.hold);
        let flow = Flow { key, reassembler, last_ns: self.now, queued: false, used: true };
        let index = match self.free.pop() {
            Some(index) => {
                self.flows[index as usize] = flow;
                index
            }
            None => {
                self.flows.push(flow);
                self.flows.len() as u32 - 1
            }
        };
        self.index.insert(key, index);
        Some(index)
    }

    #[cold]
    fn make_room(&mut self, out: &mut impl FnMut(FlowIndex, FlowEvent<'_>)) {
        while let Some(index) = self.ended.pop_front() {
            self.flows[index as usize].queued = false;
            if self.flows[index as usize].reassembler.end().is_some() {
                return self.forget(index);
            }
        }
        if self.now < self.idle_look_ns {
            return;
        }
        // Not at each segment while all flows are busy.
        self.idle_look_ns = self.now.saturating_add(self.limits.idle_ns / 16).saturating_add(1);
        for index in 0..self.flows.len() as u32 {
            let flow = &self.flows[index as usize];
            if flow.used && self.now.saturating_sub(flow.last_ns) >= self.limits.idle_ns {
                self.end(index, FlowEnd::Idle, out);
                self.forget(index);
            }
        }
    }

    /// Ends a flow from outside, unless it has ended.
    fn end(&mut self, index: u32, ended: FlowEnd, out: &mut impl FnMut(FlowIndex, FlowEvent<'_>)) {
        let Flow { key, reassembler, .. } = &mut self.flows[index as usize];
        if reassembler.end().is_some() {
            return;
        }
        reassembler.finish(&mut |piece| out(FlowIndex(index), FlowEvent::Piece(key, piece)));
        self.waiting.retain(|other| *other != index);
        self.tell_end(index, ended, out);
    }

    fn tell_end(&self, index: u32, ended: FlowEnd, out: &mut impl FnMut(FlowIndex, FlowEvent<'_>)) {
        let flow = &self.flows[index as usize];
        let facts = FlowFacts { key: flow.key, counts: *flow.reassembler.counts(), ended };
        out(FlowIndex(index), FlowEvent::Ended(&facts));
    }

    /// Another flow begins in a flow's place.
    fn renew(&mut self, index: u32) {
        let flow = &mut self.flows[index as usize];
        self.forgotten.absorb(flow.reassembler.counts());
        flow.reassembler = Reassembler::allocate(self.limits.hold);
    }

    fn forget(&mut self, index: u32) {
        self.renew(index);
        let flow = &mut self.flows[index as usize];
        flow.used = false;
        self.index.remove(&flow.key);
        self.free.push(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A table, and what each flow gave, by the source's port.
    struct Rig {
        table: FlowTable,
        streams: BTreeMap<u16, String>,
        ends: Vec<(u16, FlowEnd)>,
    }

    fn limits() -> FlowLimits {
        FlowLimits {
            flows_max: 3,
            holding_max: 1,
            hold: HoldLimits { bytes_max: 100, runs_max: 4 },
            gap_timeout_ns: 10,
            idle_ns: 1_000,
        }
    }

    fn segment(port: u16, sequence: u32, payload: &[u8]) -> Segment<'_> {
        Segment {
            source: Destination::v4([10, 0, 0, 1], port),
            destination: Destination::v4([10, 0, 0, 2], 4_000),
            sequence,
            acknowledgement: 0,
            syn: false,
            fin: false,
            rst: false,
            ack: true,
            payload,
        }
    }

    impl Rig {
        fn new() -> Rig {
            Rig { table: FlowTable::allocate(limits()), streams: BTreeMap::new(), ends: Vec::new() }
        }

        fn with<R>(
            &mut self,
            act: impl FnOnce(&mut FlowTable, &mut dyn FnMut(FlowIndex, FlowEvent<'_>)) -> R,
        ) -> R {
            let Rig { table, streams, ends } = self;
            let mut ports: Vec<(FlowIndex, u16)> = Vec::new();
            for place in 0..3 {
                ports.extend(table.key(FlowIndex(place)).map(|key| (FlowIndex(place), key.source.port)));
            }
            let mut pieces = Vec::new();
            let result = act(table, &mut |index, event| match event {
                FlowEvent::Piece(_, piece) => pieces.push((
                    index,
                    match piece {
                        Piece::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                        Piece::Lost(bytes) => ".".repeat(bytes as usize),
                    },
                )),
                FlowEvent::Ended(facts) => ends.push((facts.key.source.port, facts.ended)),
            });
            for (index, text) in pieces {
                let known = ports.iter().find(|(place, _)| *place == index).map(|(_, port)| *port);
                let port = known.or(table.key(index).map(|key| key.source.port)).expect("a flow has a key");
                streams.entry(port).or_default().push_str(&text);
            }
            result
        }

        fn take(&mut self, segment: Segment<'_>, now: Nanos) -> Result<Fate, FlowTableFull> {
            self.with(|table, mut out| table.take(&segment, now, &mut out)).map(|taken| taken.fate)
        }
    }

    #[test]
    fn flows_are_kept_apart_and_told_from_their_successors() {
        let mut rig = Rig::new();
        assert_eq!(rig.take(segment(1, 100, b"ab"), 0), Ok(Fate::New));
        assert_eq!(rig.take(segment(2, 7, b"xy"), 0), Ok(Fate::New));
        assert_eq!(rig.take(segment(3, 9, b""), 0), Ok(Fate::Empty));
        assert_eq!(rig.take(segment(1, 103, b"d"), 0), Ok(Fate::New));
        assert_eq!(rig.take(Segment { fin: true, ..segment(2, 9, b"z") }, 0), Ok(Fate::New));
        assert_eq!(rig.take(segment(2, 7, b"xy"), 0), Ok(Fate::AfterEnd), "a late copy begins no flow");
        assert_eq!(rig.take(Segment { syn: true, ..segment(1, 5, b"") }, 0), Ok(Fate::Empty));
        assert_eq!(rig.take(segment(1, 6, b"new"), 0), Ok(Fate::New));
        assert_eq!(rig.ends, [(2, FlowEnd::Finished), (1, FlowEnd::Succeeded)]);
        assert_eq!((rig.streams[&1].as_str(), rig.streams[&2].as_str()), ("ab.dnew", "xyz"));
        let totals = rig.table.totals();
        assert_eq!((totals.payload_bytes, totals.bytes, totals.discarded_bytes), (11, 9, 2));
        rig.with(|table, mut out| table.finish(&mut out));
        assert_eq!(rig.ends.last(), Some(&(1, FlowEnd::CaptureEnded)));
        assert_eq!((rig.ends.len(), rig.table.totals()), (3, totals));
    }

    #[test]
    fn old_gaps_are_given_up_by_the_captures_time() {
        let mut rig = Rig::new();
        rig.take(segment(1, 0, b"a"), 5).expect("there is room");
        rig.take(segment(1, 2, b"c"), 5).expect("there is room");
        // Only one flow may hold: the other gives its gap up at once.
        rig.take(segment(2, 0, b"a"), 6).expect("there is room");
        rig.take(segment(2, 2, b"c"), 6).expect("there is room");
        assert_eq!((rig.streams[&1].as_str(), rig.streams[&2].as_str()), ("a", "a.c"));
        rig.take(segment(2, 3, b"d"), 14).expect("there is room");
        assert_eq!(rig.streams[&1], "a");
        rig.take(segment(2, 4, b"e"), 15).expect("there is room");
        assert_eq!((rig.streams[&1].as_str(), rig.streams[&2].as_str()), ("a.c", "a.cde"));
        rig.take(segment(1, 4, b"e"), 16).expect("there is room");
        rig.with(|table, mut out| table.expire_at(26, &mut out));
        assert_eq!(rig.streams[&1], "a.c.e");
    }

    #[test]
    fn a_full_table_gives_up_ended_flows_then_silent_ones() {
        let mut rig = Rig::new();
        for port in 1..=3 {
            rig.take(segment(port, 0, b"a"), 0).expect("there is room");
        }
        assert_eq!(rig.take(segment(4, 0, b"a"), 1), Err(FlowTableFull));
        rig.take(Segment { rst: true, ..segment(2, 1, b"") }, 2).expect("it is known");
        assert_eq!(rig.take(segment(4, 0, b"a"), 3), Ok(Fate::New));
        assert_eq!(rig.take(segment(5, 0, b"a"), 4), Err(FlowTableFull));
        rig.take(segment(1, 1, b"b"), 900).expect("it is known");
        assert_eq!(rig.take(segment(5, 0, b"a"), 1_100), Ok(Fate::New));
        assert_eq!(rig.ends, [(2, FlowEnd::Reset), (4, FlowEnd::Idle), (3, FlowEnd::Idle)]);
        assert_eq!(rig.take(segment(1, 2, b"c"), 1_101), Ok(Fate::New));
        assert_eq!(rig.streams[&1], "abc");
    }

    #[test]
    fn endless_successors_take_no_memory() {
        let mut rig = Rig::new();
        for sequence in 0..1_000 {
            rig.take(Segment { syn: true, ..segment(1, sequence * 9, b"a") }, 0).expect("it is known");
            rig.take(Segment { rst: true, ..segment(1, sequence * 9 + 2, b"") }, 0).expect("it is known");
        }
        assert_eq!((rig.ends.len(), rig.table.ended.len(), rig.table.flows.len()), (1_000, 1, 1));
        assert_eq!(rig.table.totals().bytes, 1_000);
    }
}
