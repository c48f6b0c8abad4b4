//! A producer without a session on a byte stream: version 1, or version 2 that nobody acknowledges.
//!
//! Invariant: an event counts as sent when the kernel has its last byte. One that was cut by a lost connection is sent
//! again on the next.

use super::backoff::Backoff;
use super::producer::{BATCH_BYTES, Next, Producer};
use super::transport::{Stream, read_some, wait, write_some};
use super::{LoadError, ProducerReport};
use crate::event::{CloseReason, Nanos};
use crate::ledger::LatencyRecorder;
use crate::os::monotonic_now;
use crate::wire::native_v2::{self, Control, Frame};
use std::io;

/// How often the connection is looked at for words of the server, or its end.
const LISTEN_EVERY_NS: u64 = 5_000_000;

/// Frames on their way to the kernel.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    written: usize,
    /// Where each event's frame ends, and when it was due.
    events: Vec<(usize, Nanos)>,
    /// Events whose last byte the kernel has.
    done: usize,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// So many bytes more were written: the due times of the events that are complete with them.
    fn advance(&mut self, written: usize) -> &[(usize, Nanos)] {
        self.written += written;
        let before = self.done;
        let complete = self.events[before..].partition_point(|(end, _)| *end <= self.written);
        self.done += complete;
        &self.events[before..self.done]
    }

    /// Another connection: the event that was cut begins again.
    fn rewind(&mut self) {
        self.written = self.done.checked_sub(1).map_or(0, |last| self.events[last].0);
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.events.clear();
        (self.written, self.done) = (0, 0);
    }
}

/// Runs a producer to its end.
pub(super) fn run(mut producer: Producer<'_>) -> (ProducerReport, LatencyRecorder) {
    let mut backoff = Backoff::new(producer.common.plan.give_up);
    let mut batch = Batch::default();
    let (mut begun, mut sent) = (0, 0);
    loop {
        let target = &producer.common.plan.target;
        let error = match Stream::connect(target) {
            Ok(mut stream) => {
                producer.report.connections += 1;
                let before = sent;
                match serve(&mut producer, &mut stream, &mut batch, &mut begun, &mut sent) {
                    Ok(()) => break,
                    Err(source) => {
                        if sent > before {
                            backoff.succeeded();
                        }
                        LoadError::Lost { target: target.clone(), reason: source.to_string() }
                    }
                }
            }
            Err(source) => LoadError::Unreachable { target: target.clone(), source },
        };
        let reason = match &error {
            LoadError::Lost { reason, .. } => reason.clone(),
            _ => "not reachable".to_owned(),
        };
        batch.rewind();
        let next = producer.lost(&mut backoff, &reason);
        let stopped = producer.common.stop.is_set();
        if stopped && begun == sent {
            break;
        }
        if stopped || matches!(next, Next::GiveUp) {
            producer.fail(&error);
            break;
        }
    }
    // What was begun and not written has no number that anybody saw.
    producer.report.cut = begun - sent;
    producer.close(1, sent, None)
}

/// Sends what is due until the schedule or the connection ends. An error is a lost connection.
fn serve(
    producer: &mut Producer<'_>,
    stream: &mut Stream,
    batch: &mut Batch,
    begun: &mut u64,
    sent: &mut u64,
) -> io::Result<()> {
    let mut listened_ns = 0;
    let mut stopped_ns = None;
    loop {
        let now = monotonic_now();
        if now.saturating_sub(listened_ns) >= LISTEN_EVERY_NS {
            listened_ns = now;
            listen(stream)?;
        }
        if batch.is_empty() {
            if producer.is_over(*begun, now) {
                stream.end();
                return Ok(());
            }
            fill(producer, batch, begun, now);
            if batch.is_empty() {
                let pause_ns = producer.pause_ns(*begun, now);
                if pause_ns > 0 {
                    wait(stream, false, pause_ns);
                }
                continue;
            }
        }
        let written = write_some(stream, &batch.bytes[batch.written..])?;
        if written > 0 {
            let now = monotonic_now();
            let complete = batch.advance(written);
            for (_, intended_ns) in complete {
                producer.latency.record(now.saturating_sub(*intended_ns));
            }
            let events = complete.len() as u64;
            *sent += events;
            producer.report.finished_ns = Some(now);
            producer.note_written(events, written);
            continue;
        }
        // A server that takes nothing any more must not keep a sender that is asked to stop.
        if producer.common.stop.is_set() {
            let since = *stopped_ns.get_or_insert(now);
            if u128::from(now - since) >= producer.common.plan.drain.as_nanos() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server took nothing more"));
            }
        }
        producer.report.socket_full += 1;
        wait(stream, true, LISTEN_EVERY_NS);
    }
}

fn fill(producer: &Producer<'_>, batch: &mut Batch, begun: &mut u64, now: Nanos) {
    batch.clear();
    let due = producer.schedule.due(now);
    while *begun < due && batch.bytes.len() < BATCH_BYTES {
        let intended_ns = producer.schedule.intended_ns(*begun, now);
        *begun += 1;
        producer.append(*begun, intended_ns, &mut batch.bytes);
        batch.events.push((batch.bytes.len(), intended_ns));
    }
}

/// Looks whether the server said why it closes, or closed. Its other words mean nothing here.
fn listen(stream: &mut Stream) -> io::Result<()> {
    let mut bytes = [0; 512];
    let Some(read) = read_some(stream, &mut bytes)? else { return Ok(()) };
    let mut rest = &bytes[..read];
    while let Some((frame, behind)) = native_v2::frame_bytes(rest)
        .filter(|_| rest.starts_with(&native_v2::MAGIC))
        .and_then(|length| rest.split_at_checked(usize::try_from(length).ok()?))
    {
        if let Ok(Frame::Control(Control::Error { code, text })) = native_v2::parse(frame) {
            return Err(io::Error::other(error_name(code, text)));
        }
        rest = behind;
    }
    Ok(())
}

/// An error frame's reason by name; the text where the code is not known.
pub(super) fn error_name(code: u8, text: &[u8]) -> String {
    match CloseReason::ALL.get(usize::from(code)) {
        Some(reason) => reason.name().to_owned(),
        None => String::from_utf8_lossy(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_was_cut_begins_again() {
        let mut batch =
            Batch { bytes: vec![0; 30], events: vec![(10, 1), (20, 2), (30, 3)], ..Batch::default() };
        assert_eq!(batch.advance(15), [(10, 1)]);
        batch.rewind();
        assert_eq!(batch.written, 10);
        assert_eq!(batch.advance(20), [(20, 2), (30, 3)]);
        assert!(batch.is_empty());
        let mut first = Batch { bytes: vec![0; 9], events: vec![(9, 1)], written: 5, done: 0 };
        first.rewind();
        assert_eq!(first.written, 0);
    }

    #[test]
    fn error_codes_have_names() {
        assert_eq!(error_name(CloseReason::Superseded as u8, b""), "superseded");
        assert_eq!(error_name(250, b"from the future"), "from the future");
    }
}
