//! Hot path: which missing numbers are asked for again, of which server, and when.
//!
//! Invariant: no number is in two requests inside one wait for an answer; requests never exceed their pace; whatever is
//! missing and may be asked for is asked for in the end.

use crate::event::Nanos;
use std::net::SocketAddr;
use std::ops::Range;

/// Numbers that are there and asked for all the same, when that joins two ranges: eight messages of a quote feed are some
/// 300 bytes of an answer, less than the headers and the pace that a second request costs.
const MERGE_DISTANCE: u64 = 8;

/// Requests without an answer at a time; more wait until a wait of these is over. 256 are 12,800 a second at the default
/// round trip of 20 ms.
const OUTSTANDING_MAX: usize = 256;

/// Requests that may go at once, in time of their pace: a burst of losses is asked for at once.
const BURST_NS: Nanos = 10_000_000;

/// Time between two looks at what is missing, when the one before found nothing to ask for: a small part of a round trip,
/// and turns of the shard in between stay free of it.
const LOOK_NS: Nanos = 100_000;

/// How missing numbers are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoverySettings {
    /// Servers, in the order in which they are asked; at least one.
    pub servers: Vec<SocketAddr>,
    /// Time that an answer may take.
    pub round_trip_ns: Nanos,
    /// Longest wait for an answer, after servers have failed one after another.
    pub backoff_max_ns: Nanos,
    /// Waits without any answer of use after which the next server is asked; at least 1.
    pub attempts: u32,
    /// Requests a second at most; at least 1.
    pub requests_per_s: u32,
    /// Numbers in one request at most; at least 1.
    pub messages_per_request_max: u16,
}

/// A request to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The server that is asked.
    pub server: SocketAddr,
    /// The session that the numbers belong to.
    pub session: [u8; 10],
    /// The first number.
    pub sequence: u64,
    /// How many.
    pub count: u16,
}

/// What was counted of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerBook {
    /// Where it is.
    pub address: SocketAddr,
    /// Requests to it.
    pub requests: u64,
    /// Requests that it left without an answer of use.
    pub timeouts: u64,
    /// Datagrams that came from it.
    pub replies: u64,
}

#[derive(Clone, Copy, Debug)]
struct Server {
    book: ServerBook,
    heard_ns: Option<Nanos>,
}

/// A request whose wait is not over.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    from: u64,
    to: u64,
    // Numbers of it that are missing: before this look, and as counted by it.
    missing: u64,
    counted: u64,
    sent_ns: Nanos,
    wait_ns: Nanos,
    server: usize,
    progressed: bool,
}

impl Outstanding {
    #[inline]
    fn is_over(&self, now: Nanos) -> bool {
        now.saturating_sub(self.sent_ns) >= self.wait_ns
    }
}

/// Asks for what is missing of one stream.
#[derive(Debug)]
pub struct Recovery {
    servers: Vec<Server>,
    at: usize,
    round_trip_ns: Nanos,
    backoff_max_ns: Nanos,
    attempts: u64,
    interval_ns: Nanos,
    count_max: u64,
    wait_ns: Nanos,
    // When the present server was asked first without having answered since.
    silent_since: Option<Nanos>,
    // When the next request would be due if they were evenly spread.
    due_ns: Nanos,
    look_ns: Nanos,
    session: [u8; 10],
    // The next request begins here or behind it, if anything is wanted there: so that, where the pace is short, numbers
    // that nobody answers for do not keep others from being asked for.
    cursor: u64,
    // Ascending, without overlaps.
    outstanding: Vec<Outstanding>,
    switches: u64,
}

impl Recovery {
    /// Sets memory aside for all that will be asked.
    pub fn allocate(settings: &RecoverySettings) -> Recovery {
        let book =
            |address: &SocketAddr| ServerBook { address: *address, requests: 0, timeouts: 0, replies: 0 };
        let round_trip_ns = settings.round_trip_ns.max(1);
        Recovery {
            servers: settings.servers.iter().map(|a| Server { book: book(a), heard_ns: None }).collect(),
            at: 0,
            round_trip_ns,
            backoff_max_ns: settings.backoff_max_ns.max(round_trip_ns),
            attempts: u64::from(settings.attempts.max(1)),
            interval_ns: 1_000_000_000 / u64::from(settings.requests_per_s.max(1)),
            count_max: u64::from(settings.messages_per_request_max.max(1)),
            wait_ns: round_trip_ns,
            silent_since: None,
            due_ns: 0,
            look_ns: 0,
            session: [0; 10],
            cursor: 0,
            outstanding: Vec::with_capacity(OUTSTANDING_MAX),
            switches: 0,
        }
    }

    /// The next request, if one is due: `missing` are the ranges that may be asked for, ascending. To be called until it
    /// gives none.
    #[inline]
    pub fn plan(
        &mut self,
        now: Nanos,
        session: [u8; 10],
        missing: impl Iterator<Item = Range<u64>>,
    ) -> Option<Request> {
        if now < self.look_ns {
            return None;
        }
        if session != self.session {
            // Another session has other numbers.
            self.session = session;
            self.cursor = 0;
            self.outstanding.clear();
            self.silent_since = None;
        }
        let wanted = self.look(now, missing);
        self.judge(now);
        if wanted.is_empty() && self.outstanding.is_empty() {
            // Nobody was asked, so that nobody is silent.
            self.silent_since = None;
        }
        let request = self.ask(&wanted, now);
        if request.is_none() {
            self.look_ns = now.saturating_add(LOOK_NS);
        }
        request
    }

    /// A datagram came from a server. Numbers that are missing no more, from then on, are its merit.
    #[inline]
    pub fn replied(&mut self, server: &SocketAddr, now: Nanos) {
        if let Some(known) = self.servers.iter_mut().find(|known| known.book.address == *server) {
            known.book.replies += 1;
            known.heard_ns = Some(now);
        }
    }

    /// What was counted, by server, in their order.
    pub fn servers(&self) -> impl Iterator<Item = ServerBook> + '_ {
        self.servers.iter().map(|server| server.book)
    }

    /// How often another server was turned to.
    pub fn switches(&self) -> u64 {
        self.switches
    }

    /// Counts what of each request is still missing, and finds the next range that may be asked for.
    fn look(&mut self, now: Nanos, missing: impl Iterator<Item = Range<u64>>) -> Wanted {
        let mut wanted = Choice {
            first: Wanted::new(self.count_max),
            next: Wanted::new(self.count_max),
            cursor: self.cursor,
        };
        self.outstanding.iter_mut().for_each(|request| request.counted = 0);
        let (mut index, mut behind) = (0, 0);
        for range in missing {
            // Whoever gives them in another order is taken at his last word.
            let mut at = range.start.max(behind);
            behind = range.end.max(behind);
            while let Some(request) =
                self.outstanding.get_mut(index).filter(|request| request.from < range.end)
            {
                let live = !request.is_over(now);
                let (from, to) = (request.from.max(at), request.to.min(range.end));
                if live {
                    wanted.offer(at..from.min(range.end));
                    wanted.bar();
                } else if from < to {
                    wanted.offer(at..to);
                }
                if from < to {
                    request.counted += to - from;
                    at = to;
                }
                if request.to > range.end {
                    break;
                }
                index += 1;
            }
            wanted.offer(at..range.end);
            if wanted.next.closed && index == self.outstanding.len() {
                break;
            }
        }
        if wanted.next.is_empty() { wanted.first } else { wanted.next }
    }

    /// Learns from what was counted which requests were answered, and from those whose wait is over whether the server is
    /// of any use.
    fn judge(&mut self, now: Nanos) {
        let (mut progress, mut silence) = (false, false);
        let (servers, at) = (&mut self.servers, self.at);
        self.outstanding.retain_mut(|request| {
            let server = &mut servers[request.server];
            let came = request.counted < request.missing;
            request.missing = request.counted;
            if came && server.heard_ns.is_some_and(|heard| heard >= request.sent_ns) {
                request.progressed = true;
                progress |= request.server == at;
            }
            let over = request.is_over(now);
            if over && request.missing > 0 && !request.progressed {
                server.book.timeouts += 1;
                silence |= request.server == at;
            }
            !over
        });
        if progress {
            self.silent_since = None;
            let wait_ns = self.round_trip_ns;
            self.wait_ns = wait_ns;
            self.outstanding.iter_mut().for_each(|request| request.wait_ns = request.wait_ns.min(wait_ns));
        } else if silence {
            let patience = self.wait_ns.saturating_mul(self.attempts);
            if self.silent_since.is_some_and(|since| now.saturating_sub(since) >= patience) {
                self.turn_to_next();
            }
        }
    }

    /// The server was silent for long enough: the next one is asked, and after the last the first one, more patiently.
    #[cold]
    #[inline(never)]
    fn turn_to_next(&mut self) {
        self.silent_since = None;
        self.switches += u64::from(self.servers.len() > 1);
        self.at += 1;
        if self.at == self.servers.len() {
            self.at = 0;
            self.wait_ns = self.wait_ns.saturating_mul(2).min(self.backoff_max_ns);
        }
    }

    /// Makes a request of what is wanted, unless the pace or the number of those without an answer forbids it now.
    fn ask(&mut self, wanted: &Wanted, now: Nanos) -> Option<Request> {
        let due = self.due_ns <= now.saturating_add(BURST_NS.saturating_sub(self.interval_ns));
        if wanted.is_empty() || !due || self.outstanding.len() == OUTSTANDING_MAX {
            return None;
        }
        let server = self.servers.get_mut(self.at)?;
        self.due_ns = self.due_ns.max(now).saturating_add(self.interval_ns);
        self.cursor = wanted.range.end;
        self.silent_since.get_or_insert(now);
        server.book.requests += 1;
        let Range { start: from, end: to } = wanted.range;
        let request = Outstanding {
            from,
            to,
            missing: wanted.missing,
            counted: 0,
            sent_ns: now,
            wait_ns: self.wait_ns,
            server: self.at,
            progressed: false,
        };
        let place = self.outstanding.partition_point(|other| other.from < from);
        self.outstanding.insert(place, request);
        let (server, count) = (server.book.address, (to - from) as u16);
        Some(Request { server, session: self.session, sequence: from, count })
    }
}

/// What may be asked for: the first of all, and the first one behind the cursor.
struct Choice {
    first: Wanted,
    next: Wanted,
    cursor: u64,
}

impl Choice {
    #[inline]
    fn offer(&mut self, more: Range<u64>) {
        self.next.offer(more.start.max(self.cursor)..more.end);
        self.first.offer(more);
    }

    #[inline]
    fn bar(&mut self) {
        self.first.bar();
        self.next.bar();
    }
}

/// A range to be asked for, while it is put together.
struct Wanted {
    range: Range<u64>,
    missing: u64,
    closed: bool,
    count_max: u64,
}

impl Wanted {
    fn new(count_max: u64) -> Wanted {
        Wanted { range: 0..0, missing: 0, closed: false, count_max }
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.missing == 0
    }

    /// More numbers that may be asked for, behind all offered before.
    #[inline]
    fn offer(&mut self, more: Range<u64>) {
        if self.closed || more.start >= more.end {
            return;
        }
        if self.is_empty() {
            self.range = more.start..more.start;
        }
        let limit = self.range.start.saturating_add(self.count_max);
        let distance = more.start.saturating_sub(self.range.end);
        if distance > MERGE_DISTANCE || more.start >= limit {
            self.closed = true;
            return;
        }
        self.range.end = more.end.min(limit);
        self.missing += self.range.end - more.start;
        self.closed = more.end >= limit;
    }

    /// What follows is not to be joined with what was offered.
    #[inline]
    fn bar(&mut self) {
        self.closed |= !self.is_empty();
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a stream that misses one range")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const MS: Nanos = 1_000_000;
    const SESSION: [u8; 10] = *b"SESSION001";

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn settings(servers: u16) -> RecoverySettings {
        RecoverySettings {
            servers: (1..=servers).map(address).collect(),
            round_trip_ns: 20 * MS,
            backoff_max_ns: 100 * MS,
            attempts: 2,
            requests_per_s: 1_000,
            messages_per_request_max: 100,
        }
    }

    fn plan(recovery: &mut Recovery, now: Nanos, missing: &[Range<u64>]) -> Vec<(u16, u64, u16)> {
        let next = || recovery.plan(now, SESSION, missing.iter().cloned());
        std::iter::from_fn(next).map(|r| (r.server.port(), r.sequence, r.count)).collect()
    }

    #[test]
    fn near_ranges_are_one_request_and_large_ones_are_cut() {
        let mut recovery = Recovery::allocate(&settings(1));
        let asked = plan(&mut recovery, 0, &[10..11, 19..20, 29..30, 1_000..1_250]);
        // 11 to 18 are eight, and 20 to 28 are nine.
        assert_eq!(asked, [(1, 10, 10), (1, 29, 1), (1, 1_000, 100), (1, 1_100, 100), (1, 1_200, 50)]);
    }

    #[test]
    fn a_number_is_asked_for_once_in_a_round_trip() {
        let mut recovery = Recovery::allocate(&settings(1));
        assert_eq!(plan(&mut recovery, 0, &[10..20]), [(1, 10, 10)]);
        assert_eq!(plan(&mut recovery, 10 * MS, &[10..20, 22..23]), [(1, 22, 1)]);
        // What lies between was asked for, so it keeps its neighbours apart; behind the newest request goes first.
        assert_eq!(plan(&mut recovery, 11 * MS, &[8..20, 22..24]), [(1, 23, 1), (1, 8, 2)]);
        assert_eq!(plan(&mut recovery, 20 * MS, &[8..20, 22..24]), [(1, 10, 10)]);
        assert_eq!(plan(&mut recovery, 31 * MS, &[8..20, 22..24]), [(1, 22, 2), (1, 8, 2)]);
        assert_eq!(recovery.servers().map(|s| (s.requests, s.timeouts)).collect::<Vec<_>>(), [(7, 4)]);
    }

    #[test]
    fn silent_servers_are_left_in_order_and_waits_double_behind_the_last() {
        let mut recovery = Recovery::allocate(&settings(2));
        let mut asked = Vec::new();
        for now in (0..330).map(|ms| ms * MS) {
            asked.extend(plan(&mut recovery, now, &[7..8]).iter().map(|(server, _, _)| (now / MS, *server)));
        }
        let waits =
            [(0, 1), (20, 1), (40, 2), (60, 2), (80, 1), (120, 1), (160, 2), (200, 2), (240, 1), (320, 1)];
        assert_eq!(asked, waits, "20 ms each, then 40, then 80");
        assert_eq!(recovery.switches(), 4);
        // An answer of use: this server is kept, and asked as impatiently as at first.
        assert_eq!(plan(&mut recovery, 330 * MS, &[7..8, 100..150]), [(1, 100, 50)]);
        recovery.replied(&address(1), 331 * MS);
        for (now, expected) in [(331, None), (349, None), (350, Some(1)), (370, Some(1)), (390, Some(2))] {
            let asked = plan(&mut recovery, now * MS, &[120..150]);
            assert_eq!(asked, expected.map(|server| (server, 120, 30)).as_slice(), "at {now} ms");
        }
        assert_eq!(recovery.servers().map(|s| s.replies).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn what_another_line_brings_is_no_servers_merit_and_no_servers_fault() {
        let mut recovery = Recovery::allocate(&settings(2));
        for now in (0..200).map(|turn| turn * 10 * MS) {
            // A gap for 5 ms each, closed without any answer.
            let first = now / MS;
            assert_eq!(plan(&mut recovery, now, &[first..first + 1]), [(1, first, 1)]);
            assert_eq!(plan(&mut recovery, now + 5 * MS, &[]), []);
        }
        assert_eq!(recovery.switches(), 0);
        assert!(recovery.servers().all(|server| server.timeouts == 0));
    }

    #[test]
    fn another_session_has_other_numbers() {
        let mut recovery = Recovery::allocate(&settings(1));
        assert_eq!(plan(&mut recovery, 0, &[10..20]), [(1, 10, 10)]);
        let other = recovery.plan(MS, *b"SESSION002", std::iter::once(10..20));
        assert_eq!(other.map(|request| (request.session, request.sequence)), Some((*b"SESSION002", 10)));
    }

    #[test]
    fn ranges_that_nobody_should_give_do_no_harm() {
        let hostile = [
            0..1 << 63,
            Range { start: 5, end: 2 },
            1 << 62..u64::MAX,
            0..u64::MAX,
            u64::MAX - 1..u64::MAX,
            3..3,
        ];
        for count_max in [1, 100, u16::MAX] {
            let settings = RecoverySettings { messages_per_request_max: count_max, ..settings(1) };
            let mut recovery = Recovery::allocate(&settings);
            for now in [0, MS, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
                assert!(plan(&mut recovery, now, &hostile).len() <= OUTSTANDING_MAX);
                assert!(plan(&mut recovery, now, &[u64::MAX - 1..u64::MAX]).len() <= 1);
            }
        }
        let mut nobody = Recovery::allocate(&settings(0));
        assert_eq!(plan(&mut nobody, 0, &hostile), []);
    }

    /// A world in which servers answer as they like.
    struct World {
        missing: Vec<u64>,
        now: Nanos,
        sent: Vec<(Nanos, Request)>,
    }

    impl World {
        fn ranges(&self) -> Vec<Range<u64>> {
            let mut ranges: Vec<Range<u64>> = Vec::new();
            for number in &self.missing {
                match ranges.last_mut() {
                    Some(last) if last.end == *number => last.end += 1,
                    _ => ranges.push(*number..number + 1),
                }
            }
            ranges
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn all_is_asked_for_at_its_pace_and_never_twice_at_once(
            numbers in prop::collection::btree_set(0u64..1_000, 1..100),
            answers in prop::collection::vec(0u8..4, 1..40),
            per_s in 100u32..2_000,
            count_max in 1u16..32,
        ) {
            let settings = RecoverySettings { requests_per_s: per_s, messages_per_request_max: count_max, ..settings(3) };
            let mut recovery = Recovery::allocate(&settings);
            let mut world = World { missing: numbers.iter().copied().collect(), now: 0, sent: Vec::new() };
            let mut last_asked: HashMap<u64, Nanos> = HashMap::new();
            while world.now < 10_000 * MS && !world.missing.is_empty() {
                let ranges = world.ranges();
                while let Some(request) = recovery.plan(world.now, SESSION, ranges.iter().cloned()) {
                    let asked = request.sequence..request.sequence + u64::from(request.count);
                    prop_assert!(world.missing.contains(&asked.start) && world.missing.contains(&(asked.end - 1)));
                    for number in asked {
                        let before = last_asked.insert(number, world.now);
                        prop_assert!(before.is_none_or(|before| world.now - before >= settings.round_trip_ns));
                    }
                    // Server by server, some answer nothing, some a part, some everything, some a wrong thing.
                    let answer = answers[world.sent.len() % answers.len()];
                    let (from, count) = (request.sequence, u64::from(request.count));
                    let part = match answer { 0 => 0..0, 1 => from..from + count.div_ceil(2), 2 => from..from + count, _ => 0..0 };
                    if answer > 0 {
                        recovery.replied(&request.server, world.now);
                    }
                    world.missing.retain(|number| !part.contains(number));
                    world.sent.push((world.now, request));
                }
                world.now += MS;
            }
            prop_assert!(numbers.iter().all(|number| last_asked.contains_key(number)));
            if answers.iter().all(|answer| matches!(answer, 1 | 2)) {
                prop_assert!(world.missing.is_empty(), "{} of {} are left", world.missing.len(), numbers.len());
            }
            // In every window of time as many as the pace allows, and the burst.
            let times: Vec<Nanos> = world.sent.iter().map(|(at, _)| *at).collect();
            let burst = (u64::from(per_s) / 100).max(1) + 1;
            for (index, from) in times.iter().enumerate().step_by(7) {
                for (further, to) in times[index..].iter().enumerate().step_by(11) {
                    let allowed = (to - from) * u64::from(per_s) / 1_000_000_000 + burst;
                    prop_assert!(further as u64 <= allowed, "{further} in {} ns", to - from);
                }
            }
        }

        #[test]
        fn any_ranges_give_requests_for_missing_numbers_only(
            ranges in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20),
            times in prop::collection::vec(any::<u64>(), 1..6),
        ) {
            let mut recovery = Recovery::allocate(&settings(2));
            let ranges: Vec<Range<u64>> = ranges.into_iter().map(|(start, end)| start..end).collect();
            for now in times {
                for (_, sequence, count) in plan(&mut recovery, now, &ranges) {
                    prop_assert!(count > 0 && sequence.checked_add(u64::from(count)).is_some());
                    prop_assert!(ranges.iter().any(|range| range.contains(&sequence)));
                }
            }
        }
    }
}
