//! The tables of endpoints, feeds and streams: found in O(1), allocated once, bounded.
//!
//! Invariant: a stream is known by its feed and unit; lines of a feed share streams, other endpoints never do.

use super::feeds::Feed;
use super::gaps::GapTable;
use super::holdback::HoldStore;
use super::keeper::Keeper;
use super::naming::{self, are_cme_lines};
use super::streams::LineWatch;
use super::{
    Endpoint, FeedLine, FeedPolicy, LatenessStore, Outlet, Sequencer, StreamSnapshot, StreamState, TableFacts,
};
use crate::event::{Destination, Nanos, Protocol};
use crate::ledger::StreamFeeds;
use crate::limits::{GAPS_MAX, LINE_PLACES, RECOVERY_LINE, SEQUENCE_WINDOW, WIDE_STREAMS_MAX};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::ops::Range;

/// Index of an endpoint in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointIndex(pub u32);

/// Why a run has no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoStream {
    /// The table, or the feed's lines, are full.
    TableFull,
    /// The feed is not configured to have that unit.
    UnknownUnit,
}

/// Endpoints, feeds and streams of one shard.
#[derive(Debug)]
pub struct StreamTable {
    hasher: RandomState,
    endpoints: Vec<Endpoint>,
    endpoint_index: HashTable<u32>,
    endpoints_max: usize,
    admitted: u64,
    streams: Vec<StreamState>,
    streams_used: usize,
    stream_index: HashTable<u32>,
    feeds: Vec<Feed>,
    // Those of configured feeds in their order, then that of all others, then those of inlets.
    policies: Vec<FeedPolicy>,
    policy_of_others: u32,
    pub(super) gaps: GapTable,
    holds: HoldStore,
    lateness: LatenessStore,
    last_endpoint: Option<(Destination, u32)>,
    // The stream whose lines are looked at next.
    watched: usize,
    /// Which feed each stream belongs to, for others to see.
    pub(super) stream_feeds: StreamFeeds,
}

impl StreamTable {
    /// Allocates tables for `streams_max` streams and `endpoints_max` endpoints, and enters the configured lines, whose
    /// feeds have the `policies` of their places; the last one is for all others.
    pub fn allocate(
        streams_max: usize,
        endpoints_max: usize,
        lateness_streams: usize,
        lines: &[FeedLine],
        policies: &[FeedPolicy],
    ) -> StreamTable {
        let mut table = StreamTable {
            hasher: RandomState::default(),
            endpoints: Vec::with_capacity(endpoints_max.max(lines.len())),
            endpoint_index: HashTable::with_capacity(endpoints_max.max(lines.len())),
            endpoints_max: endpoints_max.max(lines.len()),
            admitted: 0,
            streams: (0..streams_max).map(|_| StreamState::default()).collect(),
            streams_used: 0,
            stream_index: HashTable::with_capacity(streams_max),
            feeds: Vec::with_capacity(endpoints_max.max(lines.len())),
            policies: policies.to_owned(),
            policy_of_others: policies.len().saturating_sub(1) as u32,
            gaps: GapTable::allocate(GAPS_MAX, streams_max),
            holds: HoldStore::for_policies(policies),
            lateness: LatenessStore::allocate(lateness_streams),
            last_endpoint: None,
            watched: 0,
            stream_feeds: StreamFeeds::default(),
        };
        if table.policies.is_empty() {
            table.policies.push(FeedPolicy::default());
        }
        lines.iter().for_each(|line| table.configure(line));
        table
    }

    fn configure(&mut self, line: &FeedLine) {
        let feed = line.feed as usize;
        while self.feeds.len() <= feed {
            let policy = self.feeds.len().min(self.policies.len() - 1);
            let window = self.policies[policy].window;
            let wide = if window == SEQUENCE_WINDOW { 0 } else { WIDE_STREAMS_MAX };
            self.feeds.push(Feed {
                policy: policy as u32,
                windows: std::iter::repeat_with(|| Sequencer::with_window(window)).take(wide).collect(),
                ..Feed::new(Some(line.feed_name.clone()), line.protocol)
            });
        }
        if let Some(place) = self.feeds[feed].lines.get_mut(usize::from(line.line)) {
            *place = Some((Some(line.line_name.clone()), line.destination));
        }
        self.enter(Endpoint {
            destination: line.destination,
            protocol: Some(line.protocol),
            feed: Some(line.feed),
            line: line.line,
            source: line.source,
            last: None,
        });
    }

    /// Enters a feed of one stream that has no destination: what comes in by a listener, connector or socket.
    pub fn add_inlet(&mut self, name: &str, protocol: Protocol, policy: &FeedPolicy) -> EndpointIndex {
        let feed = self.feeds.len() as u32;
        let policy = match self.policies.iter().position(|known| known == policy) {
            Some(known) => known,
            None => {
                self.policies.push(policy.clone());
                // Nothing is held back yet: inlets are entered before the first frame.
                self.holds = HoldStore::for_policies(&self.policies);
                self.policies.len() - 1
            }
        };
        self.feeds.push(Feed {
            policy: policy as u32,
            windows: Vec::from([Sequencer::with_window(self.policies[policy].window)]),
            ..Feed::new(Some(name.to_owned()), protocol)
        });
        let index = self.add_endpoint(feed, 0);
        // Its first run finds it, or why there is none.
        let _ = self.find_stream(index, 0, 0);
        index
    }

    /// Enters a further endpoint of a feed, without a destination: what answers a recovery's requests.
    pub fn add_recovery(&mut self, feed: u32) -> EndpointIndex {
        let name = Some("recovery".to_owned());
        let place = usize::from(RECOVERY_LINE);
        let lines = &mut self.feeds[feed as usize].lines;
        // A socket's own line has no name as long as it is the only one.
        lines[0].get_or_insert_with(|| (Some("A".to_owned()), Destination::v4([0; 4], 0)));
        self.feeds[feed as usize].lines[place] = Some((name, Destination::v4([0; 4], 0)));
        self.add_endpoint(feed, RECOVERY_LINE)
    }

    fn add_endpoint(&mut self, feed: u32, line: u8) -> EndpointIndex {
        let index = EndpointIndex(self.endpoints.len() as u32);
        self.endpoints.push(Endpoint {
            destination: Destination::v4([0; 4], 0),
            protocol: Some(self.feeds[feed as usize].protocol),
            feed: Some(feed),
            line,
            source: None,
            last: None,
        });
        self.endpoints_max += 1;
        index
    }

    /// The endpoint of a destination, if it is known.
    #[inline]
    pub fn find_endpoint(&mut self, destination: &Destination) -> Option<EndpointIndex> {
        if let Some((last, index)) = &self.last_endpoint
            && last == destination
        {
            return Some(EndpointIndex(*index));
        }
        let hash = self.hasher.hash_one(destination);
        let endpoints = &self.endpoints;
        let found =
            *self.endpoint_index.find(hash, |i| endpoints[*i as usize].destination == *destination)?;
        self.last_endpoint = Some((*destination, found));
        Some(EndpointIndex(found))
    }

    /// Enters an endpoint that nobody configured; `None` when the table is full.
    #[cold]
    pub fn admit_endpoint(&mut self, destination: Destination) -> Option<EndpointIndex> {
        let endpoint =
            Endpoint { destination, protocol: None, feed: None, line: 0, source: None, last: None };
        (self.endpoints.len() < self.endpoints_max).then(|| {
            self.admitted += 1;
            self.enter(endpoint)
        })
    }

    /// Enters an endpoint of TCP flows: datagrams to the same address and port are not part of it. `None` when the table
    /// is full.
    #[cold]
    pub fn admit_flow_endpoint(
        &mut self,
        destination: Destination,
        protocol: Protocol,
    ) -> Option<EndpointIndex> {
        if self.endpoints.len() >= self.endpoints_max {
            return None;
        }
        let index = EndpointIndex(self.endpoints.len() as u32);
        let protocol = Some(protocol);
        self.endpoints.push(Endpoint {
            destination,
            protocol,
            feed: None,
            line: 0,
            source: None,
            last: None,
        });
        Some(index)
    }

    fn enter(&mut self, endpoint: Endpoint) -> EndpointIndex {
        let index = self.endpoints.len() as u32;
        let hash = self.hasher.hash_one(endpoint.destination);
        let (endpoints, hasher) = (&self.endpoints, &self.hasher);
        self.endpoint_index
            .insert_unique(hash, index, |i| hasher.hash_one(endpoints[*i as usize].destination));
        self.endpoints.push(endpoint);
        EndpointIndex(index)
    }

    /// An endpoint's record.
    #[inline]
    pub fn endpoint(&self, index: EndpointIndex) -> &Endpoint {
        &self.endpoints[index.0 as usize]
    }

    /// Fixes the protocol of an endpoint that nobody configured.
    #[cold]
    pub fn set_protocol(&mut self, index: EndpointIndex, protocol: Protocol) {
        self.endpoints[index.0 as usize].protocol = Some(protocol);
    }

    /// The stream that a run on an endpoint belongs to.
    ///
    /// # Errors
    /// The stream table or the feed's lines are full, or the feed has no such unit.
    #[inline]
    pub fn find_stream(
        &mut self,
        endpoint: EndpointIndex,
        unit: u32,
        session: u128,
    ) -> Result<u32, NoStream> {
        if let Some((last_unit, stream)) = self.endpoints[endpoint.0 as usize].last
            && last_unit == unit
        {
            return Ok(stream);
        }
        self.look_up_stream(endpoint, unit, session)
    }

    #[inline(never)]
    fn look_up_stream(&mut self, endpoint: EndpointIndex, unit: u32, session: u128) -> Result<u32, NoStream> {
        let feed = match self.endpoints[endpoint.0 as usize].feed {
            Some(feed) => feed,
            None => self.assign_feed(endpoint, unit, session).ok_or(NoStream::TableFull)?,
        };
        let hash = self.hasher.hash_one((feed, unit));
        let streams = &self.streams;
        let same = |i: &u32| streams[*i as usize].feed == feed && streams[*i as usize].unit == unit;
        let stream = match self.stream_index.find(hash, same) {
            Some(stream) => *stream,
            None => self.open_stream(feed, unit, hash)?,
        };
        let record = &mut self.endpoints[endpoint.0 as usize];
        record.last = Some((unit, stream));
        let line = record.line;
        self.join_line(stream, line);
        Ok(stream)
    }

    #[cold]
    fn open_stream(&mut self, feed: u32, unit: u32, hash: u64) -> Result<u32, NoStream> {
        let record = &mut self.feeds[feed as usize];
        let units = &self.policies[record.policy as usize].units;
        if !units.is_empty() && !units.contains(&unit) {
            return Err(NoStream::UnknownUnit);
        }
        if self.streams_used == self.streams.len() {
            return Err(NoStream::TableFull);
        }
        let stream = self.streams_used as u32;
        self.streams_used += 1;
        let state = &mut self.streams[stream as usize];
        state.feed = feed;
        state.unit = unit;
        state.protocol = record.protocol as u8;
        self.stream_feeds.set(stream, feed);
        state.snapshots.of_feed = self.policies[record.policy as usize].snapshot_of;
        state.is_reliable = crate::wire::is_stream_protocol(record.protocol);
        if let Some(wide) = record.windows.pop() {
            state.sequencer = wide;
        }
        let (streams, hasher) = (&self.streams, &self.hasher);
        let rehash = |i: &u32| hasher.hash_one((streams[*i as usize].feed, streams[*i as usize].unit));
        self.stream_index.insert_unique(hash, stream, rehash);
        Ok(stream)
    }

    #[cold]
    fn join_line(&mut self, stream: u32, line: u8) {
        let state = &mut self.streams[stream as usize];
        state.lines |= 1 << line;
        if state.lines.count_ones() == 2 && state.lateness.is_none() {
            state.lateness = self.lateness.lend();
        }
    }

    /// Gives an endpoint that nobody configured its feed: that of another line of the same session, or its own.
    #[cold]
    fn assign_feed(&mut self, endpoint: EndpointIndex, unit: u32, session: u128) -> Option<u32> {
        let record = self.endpoints[endpoint.0 as usize].clone();
        let protocol = record.protocol?;
        let sibling = self.sibling_feed(&record.destination, protocol, unit, session);
        let feed = sibling.unwrap_or_else(|| {
            self.feeds.push(Feed { policy: self.policy_of_others, ..Feed::new(None, protocol) });
            (self.feeds.len() - 1) as u32
        });
        let line = self.feeds[feed as usize].join(None, record.destination)?;
        let record = &mut self.endpoints[endpoint.0 as usize];
        record.feed = Some(feed);
        record.line = line;
        Some(feed)
    }

    /// The feed that an unconfigured endpoint is another line of: one whose stream of the same unit is in the same
    /// session; for CME, which has no session, one whose group differs as the venue's A and B groups do. A MACH session
    /// is one byte that all of a venue's channels start at 1, so that it proves nothing.
    fn sibling_feed(&self, to: &Destination, protocol: Protocol, unit: u32, session: u128) -> Option<u32> {
        if !matches!(protocol, Protocol::Moldudp64Itch50 | Protocol::IexTp) {
            return self.endpoints.iter().find_map(|other| {
                let known = other.feed?;
                (other.protocol == Some(protocol) && are_cme_lines(protocol, to, &other.destination))
                    .then_some(known)
            });
        }
        self.streams[..self.streams_used]
            .iter()
            .find(|s| s.protocol == protocol as u8 && s.unit == unit && s.sequencer.session() == session)
            .map(|s| s.feed)
    }

    /// A stream's state.
    #[inline]
    pub fn stream_mut(&mut self, stream: u32) -> &mut StreamState {
        &mut self.streams[stream as usize]
    }

    /// How full it is.
    pub fn facts(&self) -> TableFacts {
        TableFacts {
            streams: self.streams_used as u64,
            streams_max: self.streams.len() as u64,
            destinations: self.endpoints.len() as u64,
            destinations_max: self.endpoints_max as u64,
            admitted: self.admitted,
        }
    }

    /// How many streams there are.
    pub fn stream_count(&self) -> usize {
        self.streams_used
    }

    /// A stream with all that its decisions need.
    #[inline]
    pub(super) fn keeper<'a, O: Outlet>(
        &'a mut self,
        stream: u32,
        line: u8,
        now: Nanos,
        outlet: &'a mut O,
    ) -> Keeper<'a, O> {
        let state = &mut self.streams[stream as usize];
        let policy = self.feeds[state.feed as usize].policy;
        Keeper {
            policy: &self.policies[policy as usize],
            state,
            gaps: &mut self.gaps,
            holds: &mut self.holds,
            outlet,
            stream,
            line,
            now,
        }
    }

    /// The stream of a feed's unit, if there is one.
    pub(super) fn stream_of(&self, feed: u32, unit: u32) -> Option<u32> {
        let hash = self.hasher.hash_one((feed, unit));
        let same = |i: &u32| self.streams[*i as usize].feed == feed && self.streams[*i as usize].unit == unit;
        self.stream_index.find(hash, same).copied()
    }

    /// The numbers of a feed's unit that no line has brought in time, rising, and the session that they are of; `None`
    /// where nothing is to be asked for.
    pub(super) fn missing(
        &self,
        feed: u32,
        unit: u32,
    ) -> Option<(u128, impl Iterator<Item = Range<u64>> + '_)> {
        if self.gaps.slab.open_count() == 0 {
            return None;
        }
        let state = &self.streams[self.stream_of(feed, unit)? as usize];
        let gaps = self.gaps.slab.iter(&state.gaps);
        let asked_for = gaps.filter(|gap| gap.overdue && gap.given_up.is_none());
        (!state.gaps.is_empty()).then(|| (state.sequencer.session(), asked_for.map(|gap| gap.from..gap.to)))
    }

    /// Looks at the deadlines of all streams that have gaps.
    #[cold]
    #[inline(never)]
    pub(super) fn expire(&mut self, now: Nanos, outlet: &mut impl Outlet) {
        let mut due_ns = Nanos::MAX;
        let mut at = 0;
        while let Some(&stream) = self.gaps.streams.get(at) {
            let state = &mut self.streams[stream as usize];
            if state.gaps.is_empty() {
                state.is_gapped = false;
                self.gaps.streams.swap_remove(at);
                continue;
            }
            if state.gaps.due_ns <= now {
                self.keeper(stream, 0, now, outlet).expire();
            }
            due_ns = due_ns.min(self.streams[stream as usize].gaps.due_ns);
            at += 1;
        }
        self.gaps.due_ns = due_ns;
    }

    /// Looks for silent lines, of up to `streams` streams.
    #[cold]
    pub(super) fn watch_lines(&mut self, streams: usize, now: Nanos, outlet: &mut impl Outlet) {
        for _ in 0..streams.min(self.streams_used) {
            self.watched = if self.watched + 1 < self.streams_used { self.watched + 1 } else { 0 };
            self.keeper(self.watched as u32, 0, now, outlet).watch_lines();
        }
    }

    /// Nothing was heard for long of any line: none is missed before it is heard again.
    #[cold]
    pub(super) fn pass_over(&mut self) {
        for state in &mut self.streams[..self.streams_used] {
            state.watch.heard_ns = [0; LINE_PLACES];
        }
    }

    /// Ends all gaps: nothing will come any more. What was held back is delivered.
    #[cold]
    pub(super) fn lose_all(&mut self, now: Nanos, outlet: &mut impl Outlet) {
        for stream in 0..self.streams_used as u32 {
            let mut keeper = self.keeper(stream, 0, now, outlet);
            keeper.believe_last();
            keeper.lose_all(super::notice::Loss::SourceEnded);
        }
    }

    /// Forgets all streams' past, for a source that begins from the start again. Gaps were ended before.
    #[cold]
    pub(super) fn forget_all(&mut self) {
        for state in &mut self.streams[..self.streams_used] {
            state.sequencer.forget(&mut state.book);
            state.watch = LineWatch::default();
        }
    }

    /// Ends all epochs, so that every number is settled, and returns all streams that saw anything, with names.
    #[cold]
    pub fn settle(&mut self) -> Vec<StreamSnapshot> {
        let status: Vec<_> = self.streams[..self.streams_used].iter().map(StreamState::status).collect();
        for state in &mut self.streams[..self.streams_used] {
            state.sequencer.end_epoch(&mut state.book);
        }
        let states = self.streams[..self.streams_used].iter().zip(status);
        let snapshot = |(state, status): (&StreamState, _)| {
            let feed = self.feeds.get(state.feed as usize)?;
            naming::snapshot(feed.name.as_deref(), &feed.lines, state, status)
        };
        states.filter_map(snapshot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::streams::EpochBegin;

    fn table(lines: &[FeedLine]) -> StreamTable {
        StreamTable::allocate(4, 4, 1, lines, &[])
    }

    fn admit(table: &mut StreamTable, destination: Destination, protocol: Protocol) -> EndpointIndex {
        let index = table.admit_endpoint(destination).expect("room");
        table.set_protocol(index, protocol);
        assert_eq!(table.find_endpoint(&destination), Some(index));
        index
    }

    fn begin(table: &mut StreamTable, stream: u32, session: u128) {
        let state = table.stream_mut(stream);
        let begin = EpochBegin { sequence: 1, session, send_ns: 0, by_reset: false, line: 0 };
        state.sequencer.begin_epoch(begin, &mut state.book);
    }

    #[test]
    fn endpoints_of_one_session_are_lines_of_one_feed() {
        let mut table = table(&[]);
        let a = admit(&mut table, Destination::v4([233, 0, 0, 1], 1), Protocol::IexTp);
        let b = admit(&mut table, Destination::v4([233, 0, 0, 2], 1), Protocol::IexTp);
        let c = admit(&mut table, Destination::v4([233, 0, 0, 3], 1), Protocol::IexTp);
        let one = table.find_stream(a, 1, 77).expect("room");
        begin(&mut table, one, 77);
        assert_eq!(table.find_stream(b, 1, 77), Ok(one));
        assert_ne!(table.find_stream(c, 1, 78), Ok(one));
        assert_eq!((table.endpoint(a).line, table.endpoint(b).line), (0, 1));
        assert!(table.stream_mut(one).lateness.is_some());
    }

    #[test]
    fn cme_lines_are_known_by_their_groups() {
        let mut table = table(&[]);
        let b = admit(&mut table, Destination::v4([224, 0, 32, 64], 15_340), Protocol::CmeMdp3);
        let a = admit(&mut table, Destination::v4([224, 0, 31, 64], 14_340), Protocol::CmeMdp3);
        let other = admit(&mut table, Destination::v4([224, 0, 31, 65], 14_341), Protocol::CmeMdp3);
        let one = table.find_stream(b, 0, 0).expect("room");
        assert_eq!(table.find_stream(a, 0, 0), Ok(one));
        assert_ne!(table.find_stream(other, 0, 0), Ok(one));
    }

    #[test]
    fn channels_with_equal_mach_sessions_stay_apart() {
        let mut table = table(&[]);
        let one = admit(&mut table, Destination::v4([224, 0, 105, 1], 51_001), Protocol::MiaxMach);
        let two = admit(&mut table, Destination::v4([224, 0, 105, 2], 51_002), Protocol::MiaxMach);
        let stream = table.find_stream(one, 0, 1).expect("room");
        begin(&mut table, stream, 1);
        assert_ne!(table.find_stream(two, 0, 1), Ok(stream));
    }

    #[test]
    fn a_fifth_line_is_refused() {
        let mut table = StreamTable::allocate(8, 8, 1, &[], &[]);
        let places: Vec<Option<u32>> = (1..=5)
            .map(|port| {
                let line = admit(&mut table, Destination::v4([233, 0, 0, 1], port), Protocol::IexTp);
                let stream = table.find_stream(line, 1, 77).ok();
                if port == 1 {
                    begin(&mut table, 0, 77);
                }
                stream
            })
            .collect();
        assert_eq!(places, [Some(0), Some(0), Some(0), Some(0), None]);
        let names: Vec<String> = table.settle().remove(0).lines.into_iter().map(|line| line.name).collect();
        assert_eq!(names, ["A", "B", "C", "D"]);
    }

    #[test]
    fn full_tables_refuse_and_go_on() {
        let mut table = table(&[]);
        let a = admit(&mut table, Destination::v4([233, 0, 0, 1], 1), Protocol::CboePitch);
        let streams: Vec<Option<u32>> = (1..=5).map(|unit| table.find_stream(a, unit, 0).ok()).collect();
        assert_eq!(streams, [Some(0), Some(1), Some(2), Some(3), None]);
        assert_eq!(table.find_stream(a, 2, 0), Ok(1));
        for port in 2..=4 {
            admit(&mut table, Destination::v4([233, 0, 0, 1], port), Protocol::CboePitch);
        }
        assert!(table.admit_endpoint(Destination::v4([233, 0, 0, 1], 5)).is_none());
    }
}
