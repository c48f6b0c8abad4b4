//! Sends the TCP flows of a capture: takes its frames, puts their payload in order, and writes it to connections when
//! it is due.
//!
//! Invariant: no byte overtakes another one of its flow, and none is lost while its receiver reads: a receiver that is
//! slow holds the replay up, and the pacing error shows that.

use super::connections::Connections;
use super::report::{TcpReport, Unsent};
use crate::event::{FrameReject, Nanos};
use crate::feed::{Fate, FlowEvent, FlowIndex, FlowLimits, FlowTable, Piece};
use crate::limits::REPLAY_CONNECTIONS_MAX;
use crate::os;
use crate::replay::urgency::Urgency;
use crate::replay::{Pacer, ReplayError, SendProgress, Speed};
use crate::source::capture::{CaptureError, CaptureOptions, CaptureSource};
use crate::source::{Budget, Frame, FrameSource};
use crate::wire::link::{self, NoSegment, Segment};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Nearer due times are spun to, as in [`crate::replay::Sender`].
const SPIN_BELOW_NS: u64 = 50_000;

/// Longest sleep at a time, so that the stop flag and answers are seen.
const SLEEP_NS_MAX: u64 = 10_000_000;

/// How long a capture's loader is given when it is behind.
const LOADER_SLEEP: Duration = Duration::from_micros(100);

/// How often progress is told.
const PROGRESS_NS: u64 = 100_000_000;

/// Files that the process has open beside its connections.
const OTHER_FILES: u64 = 64;

/// Where flows go and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpWishes {
    /// The receiver.
    pub address: SocketAddr,
    /// Only flows to this port; `None` is all.
    pub flow_port: Option<u16>,
    /// Connections at a time.
    pub connections_max: usize,
}

impl TcpWishes {
    /// All flows to an address, over as many connections as there may be.
    pub fn new(address: SocketAddr) -> TcpWishes {
        TcpWishes { address, flow_port: None, connections_max: REPLAY_CONNECTIONS_MAX }
    }
}

/// A capture's flows on their way out.
pub struct TcpSender<C> {
    source: CaptureSource,
    speed: Speed,
    wishes: TcpWishes,
    clock: C,
}

/// The frame at hand: when it is due, and whether that was waited for.
#[derive(Clone, Copy, Default)]
struct Turn {
    due_ns: Option<Nanos>,
    due_known: bool,
    sent: bool,
    /// A flow that ended with this frame, and why not all of it was sent.
    ended: Option<(FlowIndex, Option<Unsent>)>,
}

/// Everything of a run but the capture and its flows.
struct Run<'a, C> {
    connections: Connections<'a, C>,
    clock: &'a C,
    stop: &'a AtomicBool,
    progress: &'a mut dyn FnMut(&SendProgress),
    speed: Speed,
    flow_port: Option<u16>,
    pacer: Pacer,
    urgency: Urgency,
    started_ns: Nanos,
    told_ns: Nanos,
    so_far: SendProgress,
    turn: Turn,
    report: TcpReport,
    failed: Option<ReplayError>,
}

impl<C: Fn() -> Nanos> TcpSender<C> {
    /// Opens captures. `clock` reads CLOCK_MONOTONIC in ns.
    ///
    /// # Errors
    /// When no file is named, or one can't be opened or read.
    pub fn open(options: &CaptureOptions, wishes: TcpWishes, clock: C) -> Result<TcpSender<C>, CaptureError> {
        // Frames without payload take no part in a rate, so the pace is kept here and not by the source.
        let source = CaptureSource::open(&CaptureOptions { speed: Speed::Max, ..options.clone() })?;
        Ok(TcpSender { source, speed: options.speed, wishes, clock })
    }

    /// The capture back, once the sending has ended.
    pub fn into_source(self) -> CaptureSource {
        self.source
    }

    /// Sends until the capture's end or until `stop` is set; `progress` is told some ten times a second.
    ///
    /// # Errors
    /// When nobody accepts a connection. Receivers that close one, and damage in the capture, end it without an error.
    pub fn run(
        &mut self,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(&SendProgress),
    ) -> Result<TcpReport, ReplayError> {
        let TcpSender { source, speed, wishes, clock } = self;
        let files = os::allow_open_files(wishes.connections_max as u64 + OTHER_FILES);
        let connections_max = usize::try_from(files.saturating_sub(OTHER_FILES))
            .unwrap_or(0)
            .clamp(1, wishes.connections_max.max(1));
        let clock = &*clock;
        let started_ns = clock();
        let mut run = Run {
            connections: Connections::new(wishes.address, connections_max, clock, stop),
            clock,
            stop,
            progress,
            speed: *speed,
            flow_port: wishes.flow_port,
            pacer: Pacer::new(*speed),
            urgency: Urgency::begin(*speed != Speed::Max, started_ns),
            started_ns,
            told_ns: started_ns,
            so_far: SendProgress { frames_total: source.frames_total(), ..SendProgress::default() },
            turn: Turn::default(),
            report: TcpReport::default(),
            failed: None,
        };
        let mut table = FlowTable::allocate(FlowLimits::default());
        while !source.exhausted() {
            if run.is_stopped() {
                run.report.stopped = true;
                source.stop();
                break;
            }
            if source.begins_again() {
                run.finish_flows(&mut table);
                run.pacer.next_loop();
            }
            let budget = Budget { frames: 1, bytes: usize::MAX };
            if source.poll(0, budget, &mut |frame: Frame<'_>| run.frame(&mut table, frame)) == 0 {
                std::thread::sleep(LOADER_SLEEP);
            }
            run.keep_house();
            if let Some(failed) = run.failed.take() {
                return Err(failed);
            }
        }
        run.end(&mut table)
    }
}

impl<C: Fn() -> Nanos> Run<'_, C> {
    fn is_stopped(&self) -> bool {
        // Relaxed: the flag carries nothing but itself.
        self.stop.load(Ordering::Relaxed)
    }

    /// Takes a frame: counts it once, and sends what it makes of its flow.
    fn frame(&mut self, table: &mut FlowTable, frame: Frame<'_>) {
        self.report.taken += 1;
        self.so_far.frames += 1;
        self.so_far.bytes += frame.bytes.len() as u64;
        self.turn = Turn::default();
        if matches!(self.speed, Speed::Original | Speed::Factor(_)) {
            // Every frame moves the capture's time on, whatever it holds.
            self.set_due(frame.wire_ns);
        }
        match link::segment(frame.bytes, frame.link) {
            Ok(segment) => self.segment(table, &segment, frame.wire_ns),
            Err(NoSegment::NotTcp) => self.report.skipped.not_tcp += 1,
            Err(NoSegment::Refused(FrameReject::LinkType)) => self.report.skipped.link_type += 1,
            Err(NoSegment::Refused(_)) => self.report.skipped.unreadable += 1,
        }
        if let Some(due_ns) = self.turn.due_ns.filter(|_| self.turn.sent) {
            let sent_ns = (self.clock)();
            self.report.pacing.record(due_ns, sent_ns);
        }
    }

    fn segment(&mut self, table: &mut FlowTable, segment: &Segment<'_>, time_ns: Nanos) {
        let payload_bytes = segment.payload.len() as u64;
        self.report.payload_bytes += payload_bytes;
        if self.flow_port.is_some_and(|port| port != segment.destination.port) {
            self.report.skipped.other_port += 1;
            self.report.unsent_bytes.other_port += payload_bytes;
            return;
        }
        let taken = table.take(segment, time_ns, &mut |flow, event| self.event(flow, event));
        let skipped = &mut self.report.skipped;
        let Ok(taken) = taken else {
            skipped.flow_limit += 1;
            self.report.unsent_bytes.flow_limit += payload_bytes;
            return;
        };
        let ended = self.turn.ended.filter(|(flow, _)| Some(*flow) == taken.flow);
        let unsent = match ended {
            Some((_, unsent)) => unsent,
            None => taken.flow.and_then(|flow| self.connections.unsent(flow)),
        };
        match (taken.fate, unsent) {
            (Fate::New, None) => self.report.sent += 1,
            (Fate::New, Some(why)) => *skipped.of(why) += 1,
            (Fate::Empty, _) => skipped.no_payload += 1,
            (Fate::Duplicate, _) => skipped.duplicate += 1,
            (Fate::BeforeStart, _) => skipped.before_start += 1,
            (Fate::AfterEnd, _) => skipped.after_end += 1,
            (Fate::Implausible, _) => skipped.implausible += 1,
        }
    }

    fn event(&mut self, flow: FlowIndex, event: FlowEvent<'_>) {
        match event {
            FlowEvent::Piece(_, Piece::Bytes(bytes)) => {
                self.wait_for_due();
                self.send(flow, bytes);
            }
            FlowEvent::Piece(_, Piece::Lost(bytes)) => self.report.missing_bytes += bytes,
            FlowEvent::Ended(facts) => {
                if !matches!(self.speed, Speed::Pps(_)) {
                    self.wait_for_due();
                }
                let (sent_bytes, unsent) = self.connections.close(flow);
                self.turn.ended = Some((flow, unsent));
                self.report.note_flow(facts, sent_bytes, unsent);
            }
        }
    }

    fn send(&mut self, flow: FlowIndex, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        match self.connections.send(flow, bytes) {
            Ok(written) => {
                self.turn.sent |= written.bytes > 0;
                self.report.sent_bytes += written.bytes as u64;
                if let Some(why) = written.unsent {
                    *self.report.unsent_bytes.of(why) += (bytes.len() - written.bytes) as u64;
                }
            }
            Err(failed) => self.failed = Some(failed),
        }
    }

    fn set_due(&mut self, capture_ns: Nanos) {
        self.turn.due_known = true;
        self.turn.due_ns = self.pacer.due_ns(capture_ns).map(|after| self.started_ns + after);
    }

    /// Waits until the frame at hand is due: asleep while there is time, spinning at the end.
    fn wait_for_due(&mut self) {
        if !self.turn.due_known {
            self.set_due(0);
        }
        let Some(due_ns) = self.turn.due_ns else { return };
        while !self.is_stopped() {
            let now = (self.clock)();
            let left_ns = due_ns.saturating_sub(now);
            if left_ns == 0 {
                return;
            }
            if left_ns > SPIN_BELOW_NS {
                let sleep_ns = (left_ns - SPIN_BELOW_NS).min(SLEEP_NS_MAX);
                std::thread::sleep(Duration::from_nanos(sleep_ns));
                self.urgency.slept(sleep_ns);
                self.keep_house();
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// What is done now and then: answers are read, progress is told.
    fn keep_house(&mut self) {
        let now = (self.clock)();
        self.connections.tend(now);
        self.urgency.look(now);
        if now.saturating_sub(self.told_ns) >= PROGRESS_NS {
            self.told_ns = now;
            self.so_far.elapsed_ns = now - self.started_ns;
            (self.progress)(&self.so_far);
        }
    }

    /// The capture ends, or begins again: so do its flows.
    fn finish_flows(&mut self, table: &mut FlowTable) {
        // What flows still held is due at once.
        self.turn = Turn { due_known: true, ..Turn::default() };
        table.finish(&mut |flow, event| self.event(flow, event));
    }

    fn end(mut self, table: &mut FlowTable) -> Result<TcpReport, ReplayError> {
        self.finish_flows(table);
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.report.elapsed_ns = (self.clock)() - self.started_ns;
        self.so_far.elapsed_ns = self.report.elapsed_ns;
        (self.progress)(&self.so_far);
        self.connections.linger();
        let totals = table.totals();
        let unsent = &mut self.report.unsent_bytes;
        self.report.stopped |= unsent.stopped > 0;
        unsent.duplicate = totals.duplicate_bytes;
        unsent.before_start = totals.before_start_bytes;
        unsent.discarded = totals.discarded_bytes;
        let counts = self.connections.counts;
        Ok(TcpReport {
            connections: counts.opened,
            connections_high_water: counts.high_water,
            connections_refused: counts.refused,
            connections_lost: counts.lost,
            connections_unanswered: counts.unanswered,
            answered_bytes: counts.answered_bytes,
            waits: counts.waits,
            blocked_ns: counts.blocked_ns,
            real_time: self.urgency.outcome(),
            ..self.report
        })
    }
}
