//! A producer with an acknowledged session: what it sends is acknowledged, or reported at the end.
//!
//! Invariant: every event keeps its number, and its bytes, across connections; what is not acknowledged is sent again.

use super::backoff::Backoff;
use super::producer::{BATCH_BYTES, Next, Producer};
use super::stream::error_name;
use super::transport::{Stream, read_some, wait, write_some};
use super::window::{Contradiction, Window};
use super::{LoadError, ProducerReport, SessionWish};
use crate::event::{CloseReason, Nanos};
use crate::ledger::LatencyRecorder;
use crate::os::monotonic_now;
use crate::wire::native_v2::{self, Control, Frame};
use std::io;
use std::sync::atomic::Ordering;

/// How long a welcome is waited for.
const WELCOME_NS_MAX: u64 = 5_000_000_000;

/// An idle session says that it is there so often.
const HEARTBEAT_NS: u64 = 1_000_000_000;

/// How long a goodbye may take to be answered by the connection's end.
const GOODBYE_NS_MAX: u64 = 1_000_000_000;

/// Longest wait, so that the stop flag is seen.
const WAIT_NS_MAX: u64 = 20_000_000;

/// Longest frame that a server has reason to send, bytes.
const ANSWER_BYTES_MAX: usize = 4_096;

/// How a connection ended.
enum Ended {
    /// Others may do better.
    Lost(String),
    /// None will.
    Fatal(LoadError),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Ended {
        Ended::Lost(error.to_string())
    }
}

struct Session<'a> {
    producer: Producer<'a>,
    durable: bool,
    window: Window,
    backoff: Backoff,
    /// Number of the event that is encoded next.
    cursor: u64,
    /// Frames on their way to the kernel, and how far they are.
    out: Vec<u8>,
    written: usize,
    /// What the server said, up to a frame that is not whole.
    inbox: Vec<u8>,
    welcomed: bool,
    wrote_ns: Nanos,
    full_since: Option<Nanos>,
    /// When all was sent, or the last acknowledgement behind that came.
    waiting_since: Option<Nanos>,
    finished_ns: Option<Nanos>,
}

/// Runs a producer to its end.
pub(super) fn run(producer: Producer<'_>, wish: SessionWish) -> (ProducerReport, LatencyRecorder) {
    let mut session = Session {
        durable: wish.durable,
        window: Window::new(wish.window),
        backoff: Backoff::new(producer.common.plan.give_up),
        cursor: 1,
        out: Vec::with_capacity(2 * BATCH_BYTES),
        written: 0,
        inbox: Vec::new(),
        welcomed: false,
        wrote_ns: 0,
        full_since: None,
        waiting_since: None,
        finished_ns: None,
        producer,
    };
    session.work();
    let Session { mut producer, window, finished_ns, .. } = session;
    producer.report.finished_ns = finished_ns;
    producer.close(window.first(), window.sent(), Some(window.confirmed()))
}

impl Session<'_> {
    /// One connection after the other, until all is acknowledged or nothing more is to be hoped for.
    fn work(&mut self) {
        loop {
            let target = self.producer.common.plan.target.clone();
            let (error, reason) = match Stream::connect(&target) {
                Ok(mut stream) => {
                    self.producer.report.connections += 1;
                    match self.serve(&mut stream) {
                        Ok(()) => return,
                        Err(Ended::Fatal(error)) => return self.producer.fail(&error),
                        Err(Ended::Lost(reason)) => {
                            (LoadError::Lost { target, reason: reason.clone() }, reason)
                        }
                    }
                }
                Err(source) => (LoadError::Unreachable { target, source }, "not reachable".to_owned()),
            };
            let now = monotonic_now();
            if self.is_done(now) || self.has_waited_enough(now) {
                return;
            }
            if matches!(self.producer.lost(&mut self.backoff, &reason), Next::GiveUp) {
                return self.producer.fail(&error);
            }
        }
    }

    /// Whether no further event is to be sent.
    fn is_over(&self, now: Nanos) -> bool {
        self.producer.is_over(self.window.sent(), now)
    }

    /// Whether all is sent and acknowledged.
    fn is_done(&self, now: Nanos) -> bool {
        self.is_over(now) && self.window.is_empty()
    }

    /// Whether all is sent, and nothing was acknowledged for as long as one waits for that.
    fn has_waited_enough(&mut self, now: Nanos) -> bool {
        if !self.is_over(now) {
            return false;
        }
        let since = *self.waiting_since.get_or_insert(now);
        u128::from(now.saturating_sub(since)) >= self.producer.common.plan.drain.as_nanos()
    }

    /// One connection: `Ok` when there is nothing left to do or to wait for.
    fn serve(&mut self, stream: &mut Stream) -> Result<(), Ended> {
        let opened_ns = monotonic_now();
        self.begin(opened_ns);
        loop {
            let now = monotonic_now();
            if self.welcomed {
                self.fill(now);
            } else if now - opened_ns > WELCOME_NS_MAX {
                return Err(Ended::Lost("no welcome".to_owned()));
            }
            let wrote = self.write(stream, now)?;
            let heard = self.listen(stream)?;
            let now = monotonic_now();
            if self.has_waited_enough(now) {
                return Ok(());
            }
            if self.is_done(now) {
                return if self.welcomed { self.say_goodbye(stream, now) } else { Ok(()) };
            }
            if !wrote && !heard {
                let pause_ns = self.pause_ns(now);
                if pause_ns > 0 {
                    wait(stream, self.written < self.out.len(), pause_ns);
                }
            }
        }
    }

    fn begin(&mut self, now: Nanos) {
        self.out.clear();
        self.inbox.clear();
        (self.written, self.welcomed, self.wrote_ns) = (0, false, now);
        let hello = Control::Hello {
            producer: self.producer.id,
            acknowledged: self.window.confirmed(),
            durable: self.durable,
        };
        native_v2::encode_control(&hello, self.producer.id, &mut self.out);
    }

    /// Encodes what is to be sent again and what is due, once all before it is written.
    fn fill(&mut self, now: Nanos) {
        if self.written < self.out.len() {
            return;
        }
        self.out.clear();
        self.written = 0;
        let over = self.is_over(now);
        let due = self.producer.schedule.due(now);
        let mut begun = 0;
        while self.out.len() < BATCH_BYTES {
            if let Some(intended_ns) = self.window.intended_ns(self.cursor) {
                self.producer.append(self.cursor, intended_ns, &mut self.out);
                self.producer.report.resent += 1;
                self.cursor += 1;
                continue;
            }
            let n = self.window.sent();
            if over || n >= due {
                break;
            }
            let intended_ns = self.producer.schedule.intended_ns(n, now);
            let Some(sequence) = self.window.push(intended_ns) else {
                if self.full_since.is_none() {
                    self.full_since = Some(now);
                    self.producer.report.window_full += 1;
                }
                break;
            };
            self.producer.append(sequence, intended_ns, &mut self.out);
            self.cursor = sequence + 1;
            begun += 1;
        }
        self.producer.note_written(begun, 0);
        if self.out.is_empty() && now.saturating_sub(self.wrote_ns) >= HEARTBEAT_NS {
            native_v2::encode_control(&Control::Heartbeat, self.producer.id, &mut self.out);
        }
    }

    fn write(&mut self, stream: &mut Stream, now: Nanos) -> Result<bool, Ended> {
        let rest = &self.out[self.written..];
        if rest.is_empty() {
            return Ok(false);
        }
        let bytes = write_some(stream, rest).or_else(|error| {
            // The server's last word, if it said one, tells more than the error.
            self.listen(stream)?;
            Err(Ended::from(error))
        })?;
        if bytes == 0 {
            self.producer.report.socket_full += 1;
            return Ok(false);
        }
        self.written += bytes;
        self.wrote_ns = now;
        self.producer.note_written(0, bytes);
        Ok(true)
    }

    /// Reads what the server said; whether it said anything.
    fn listen(&mut self, stream: &mut Stream) -> Result<bool, Ended> {
        let mut bytes = [0; ANSWER_BYTES_MAX];
        let mut heard = false;
        while let Some(read) = read_some(stream, &mut bytes)? {
            heard = true;
            self.inbox.extend_from_slice(&bytes[..read]);
            let inbox = std::mem::take(&mut self.inbox);
            let used = self.read_frames(&inbox)?;
            self.inbox = inbox;
            self.inbox.drain(..used);
        }
        Ok(heard)
    }

    /// Obeys the whole frames in `bytes`; how many bytes they have.
    fn read_frames(&mut self, bytes: &[u8]) -> Result<usize, Ended> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let magic = rest.len().min(native_v2::MAGIC.len());
            if rest[..magic] != native_v2::MAGIC[..magic] {
                return Err(
                    self.broken("it answers, but not in version 2; does its listener speak it?".to_owned())
                );
            }
            let Some(length) = native_v2::frame_bytes(rest) else { return Ok(used) };
            if length > ANSWER_BYTES_MAX as u64 {
                return Err(Ended::Lost("an answer that is too long".to_owned()));
            }
            let Some(frame) = rest.get(..length as usize) else { return Ok(used) };
            match native_v2::parse(frame) {
                Ok(Frame::Control(control)) => self.obey(&control, monotonic_now())?,
                Ok(Frame::Event(_)) => return Err(self.broken("it sends events".to_owned())),
                Err(reason) => return Err(Ended::Lost(format!("a damaged answer ({})", reason.name()))),
            }
            used += frame.len();
        }
    }

    fn obey(&mut self, control: &Control<'_>, now: Nanos) -> Result<(), Ended> {
        match *control {
            Control::Welcome { received, durable } if !self.welcomed => {
                self.welcomed = true;
                self.cursor = self.window.open(received).map_err(|what| self.contradiction(what))?;
                self.acknowledge(received, durable, now)?;
                if self.window.is_empty() {
                    self.backoff.succeeded();
                }
                Ok(())
            }
            Control::Ack { received, durable } if self.welcomed => self.acknowledge(received, durable, now),
            Control::Error { code, text } => Err(self.refused(code, text)),
            Control::Heartbeat => Ok(()),
            other => Err(self.broken(format!("it says {other:?}, which is not its turn"))),
        }
    }

    fn acknowledge(&mut self, received: u64, durable: u64, now: Nanos) -> Result<(), Ended> {
        let latency = &mut self.producer.latency;
        let each = |intended_ns| latency.record(now.saturating_sub(intended_ns));
        let sequence = if self.durable { durable } else { received };
        let newly = self.window.confirm(sequence, each).map_err(|what| self.contradiction(what))?;
        if newly > 0 {
            self.backoff.succeeded();
            self.waiting_since = None;
            self.finished_ns = Some(now);
            // Relaxed: a counter for show.
            self.producer.common.board.acknowledged.fetch_add(newly, Ordering::Relaxed);
            if let Some(since) = self.full_since.take() {
                self.producer.report.window_full_ns += now.saturating_sub(since);
            }
        }
        Ok(())
    }

    /// How long nothing can be done, ns.
    fn pause_ns(&self, now: Nanos) -> u64 {
        let waits_for_server = !self.welcomed || self.written < self.out.len() || self.full_since.is_some();
        if waits_for_server || self.is_over(now) {
            return WAIT_NS_MAX;
        }
        self.producer.pause_ns(self.window.sent(), now)
    }

    /// Says that all is sent, and lets the server close.
    fn say_goodbye(&mut self, stream: &mut Stream, since: Nanos) -> Result<(), Ended> {
        native_v2::encode_control(&Control::Goodbye, self.producer.id, &mut self.out);
        loop {
            let now = monotonic_now();
            // All is acknowledged: what becomes of the connection changes nothing.
            let open = self.write(stream, now).and_then(|_| self.listen(stream)).is_ok();
            if !open || now.saturating_sub(since) > GOODBYE_NS_MAX {
                return Ok(());
            }
            wait(stream, self.written < self.out.len(), WAIT_NS_MAX);
        }
    }

    fn broken(&self, what: String) -> Ended {
        let target = self.producer.common.plan.target.clone();
        Ended::Fatal(LoadError::Broken { target, producer: self.producer.id, what })
    }

    fn contradiction(&self, contradiction: Contradiction) -> Ended {
        self.broken(match contradiction {
            Contradiction::Forgotten(acknowledged, known) => format!(
                "the server acknowledged {acknowledged} and now knows {known} only: what it promised is lost"
            ),
            Contradiction::NeverSent(number, last) => format!(
                "the server has event {number}, the last one sent was {last}: does another sender use this id? \
                 --producer-id gives another"
            ),
        })
    }

    fn refused(&self, code: u8, text: &[u8]) -> Ended {
        let reason = error_name(code, text);
        let advice = match CloseReason::ALL.get(usize::from(code)) {
            Some(CloseReason::Superseded) => "another sender uses its id; --producer-id gives another",
            Some(CloseReason::NotOffered) => "the server has no journal; leave --durable out",
            Some(CloseReason::SourceNotAllowed) => "the listener's prefixes do not hold this address",
            Some(CloseReason::ProducersFull) => {
                "the server knows as many producers as it may; use an id it knows"
            }
            Some(CloseReason::LoginRefused) => "the server's log says why",
            _ => return Ended::Lost(reason),
        };
        let target = self.producer.common.plan.target.clone();
        Ended::Fatal(LoadError::Refused { target, producer: self.producer.id, reason, advice })
    }
}
