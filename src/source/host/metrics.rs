//! The thread that collects the host's figures and writes them into its end of a stream.
//!
//! Invariant: it ends when it is told to, or when the other end is closed, whatever the socket holds.

use super::HostError;
use super::facts::{Fact, facts};
use super::outlet::Outlet;
use super::sample::Sample;
use crate::config::HostSettings;
use crate::event::Priority;
use crate::wire::native_v2::{EventFrame, Topic, encode_event};
use procfs::{CurrentSI, KernelStats};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long the rest of a half-written frame may take when the source stops.
const LAST_WRITE: Duration = Duration::from_millis(100);

/// The host metrics source: a thread, and what it counts. Dropped, it stops.
#[derive(Debug)]
pub struct HostMetrics {
    counters: Arc<Counters>,
    /// Dropped to stop the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCounts {
    /// Samples taken, the first one, which has no rates and makes no frames, included.
    pub samples: u64,
    /// Parts of samples that could not be read.
    pub parts_failed: u64,
    /// Frames that went into the stream whole.
    pub frames_sent: u64,
    /// Frames given up because the stream was full.
    pub frames_skipped: u64,
}

#[derive(Debug, Default)]
struct Counters {
    samples: AtomicU64,
    parts_failed: AtomicU64,
    frames_sent: AtomicU64,
    frames_skipped: AtomicU64,
}

impl HostMetrics {
    /// Starts collecting, whatever [`HostSettings::enabled`] says, and returns the end of the stream that the frames
    /// come out of. The thread inherits the caller's CPUs and scheduling: start it before these are narrowed.
    ///
    /// # Errors
    /// /proc can't be read, or the kernel gives no socket or no thread.
    pub fn start(settings: &HostSettings) -> Result<(HostMetrics, UnixStream), HostError> {
        KernelStats::current().map_err(|cause| HostError::Unreadable { cause })?;
        let socket = |cause| HostError::Resource { what: "socket", cause };
        let (own, other) = UnixStream::pair().map_err(socket)?;
        own.set_nonblocking(true).map_err(socket)?;
        let (stop, stopped) = mpsc::channel();
        let counters = Arc::new(Counters::default());
        let collector = Collector {
            interval: settings.interval,
            topics_prefix: settings.topics_prefix.clone(),
            priority: settings.priority,
            counters: Arc::clone(&counters),
            stream: own,
            outlet: Outlet::default(),
        };
        let thread = thread::Builder::new()
            .name("host-metrics".to_owned())
            .spawn(move || collector.run(&stopped))
            .map_err(|cause| HostError::Resource { what: "thread", cause })?;
        Ok((HostMetrics { counters, stop: Some(stop), thread: Some(thread) }, other))
    }

    /// Ends the thread, and closes its end of the stream behind the last whole frame. Takes no longer than a sample
    /// and a tenth of a second. Returns the final counts.
    pub fn stop(mut self) -> HostCounts {
        self.end();
        self.counts()
    }

    /// What was counted so far.
    pub fn counts(&self) -> HostCounts {
        let counters = &self.counters;
        HostCounts {
            samples: counters.samples.load(Relaxed),
            parts_failed: counters.parts_failed.load(Relaxed),
            frames_sent: counters.frames_sent.load(Relaxed),
            frames_skipped: counters.frames_skipped.load(Relaxed),
        }
    }

    fn end(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has closed the stream, and is no reason for one here.
            let _ = thread.join();
        }
    }
}

impl Drop for HostMetrics {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread's own.
struct Collector {
    interval: Duration,
    topics_prefix: String,
    priority: Priority,
    counters: Arc<Counters>,
    stream: UnixStream,
    outlet: Outlet,
}

impl Collector {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut before = self.sample();
        let mut next = Instant::now() + self.interval;
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                break;
            }
            // After a pause of the machine it goes on from now: samples of no time between them say nothing.
            next = (next + self.interval).max(Instant::now());
            let now = self.sample();
            if self.send(&before, &now).is_err() {
                // The other end is closed, and nobody will ever read here.
                return;
            }
            before = now;
        }
        self.finish();
    }

    /// Writes the rest of a half-written frame. A reader that has stopped reading keeps the half.
    fn finish(&mut self) {
        if self.outlet.rest().is_empty() {
            return;
        }
        let waits = self.stream.set_nonblocking(false);
        let waits = waits.and_then(|()| self.stream.set_write_timeout(Some(LAST_WRITE)));
        let counter = match waits.and_then(|()| self.stream.write_all(self.outlet.rest())) {
            Ok(()) => &self.counters.frames_sent,
            Err(_) => &self.counters.frames_skipped,
        };
        counter.fetch_add(1, Relaxed);
    }

    fn sample(&self) -> Sample {
        let sample = Sample::take();
        self.counters.samples.fetch_add(1, Relaxed);
        self.counters.parts_failed.fetch_add(sample.failed, Relaxed);
        sample
    }

    fn send(&mut self, before: &Sample, now: &Sample) -> std::io::Result<()> {
        let time_ns = u64::try_from(now.time.as_nanos()).unwrap_or(u64::MAX);
        let (mut frames, mut ends) = (Vec::new(), Vec::new());
        for fact in facts(before, now) {
            self.encode(&fact, time_ns, &mut frames);
            ends.push(frames.len());
        }
        let sent = self.outlet.send(&mut self.stream, &frames, &ends)?;
        self.counters.frames_sent.fetch_add(sent.whole, Relaxed);
        self.counters.frames_skipped.fetch_add(sent.skipped, Relaxed);
        Ok(())
    }

    fn encode(&self, fact: &Fact, time_ns: u64, frames: &mut Vec<u8>) {
        // Prefix, device names and words are all far below a frame's limits.
        let topic = format!("{}.{}", self.topics_prefix, fact.topic);
        let event = EventFrame {
            producer: 0,
            sequence: 0,
            time_ns,
            kind: fact.kind as u16,
            priority: self.priority,
            topic: Topic::Name(topic.as_bytes()),
            payload: fact.payload.as_bytes(),
        };
        encode_event(&event, frames);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::native_v2::{Frame, HEADER_BYTES, frame_bytes, parse};
    use std::collections::HashMap;
    use std::io::Read;
    use std::net::UdpSocket;

    fn settings(interval_ms: u64) -> HostSettings {
        HostSettings {
            enabled: true,
            interval: Duration::from_millis(interval_ms),
            topics_prefix: "box-7".to_owned(),
            priority: Priority::Medium,
            shard: 0,
        }
    }

    struct Event {
        topic: String,
        kind: u16,
        words: HashMap<String, f64>,
    }

    fn next_event(stream: &mut UnixStream) -> Option<Event> {
        let mut bytes = vec![0; HEADER_BYTES];
        match stream.read(&mut bytes[..1]).expect("readable") {
            0 => return None,
            _ => stream.read_exact(&mut bytes[1..]).expect("a whole header"),
        }
        let whole = frame_bytes(&bytes).expect("a length");
        bytes.resize(whole as usize, 0);
        stream.read_exact(&mut bytes[HEADER_BYTES..]).expect("a whole frame");
        let Ok(Frame::Event(event)) = parse(&bytes) else { panic!("no event") };
        let Topic::Name(topic) = event.topic else { panic!("no name") };
        assert_eq!((event.producer, event.sequence, event.priority), (0, 0, Priority::Medium));
        // Later than the day this was written, so in ns since the epoch.
        assert!(event.time_ns > 1_700_000_000_000_000_000);
        let payload = std::str::from_utf8(event.payload).expect("text");
        let word = |word: &str| {
            let (key, value) = word.split_once('=').expect("key=value");
            (key.to_owned(), value.parse().expect("a number"))
        };
        Some(Event {
            topic: std::str::from_utf8(topic).expect("text").to_owned(),
            kind: event.kind,
            words: payload.split(' ').map(word).collect(),
        })
    }

    #[test]
    fn figures_of_this_host_come_out_as_native_frames() {
        let (metrics, mut stream) = HostMetrics::start(&settings(20)).expect("starts");
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let target = receiver.local_addr().expect("bound");
        let mut seen: HashMap<String, Event> = HashMap::new();
        let mut loopback_bytes = 0.0;
        // Traffic is made until its rate shows; a sample takes what time it takes.
        while loopback_bytes < 1_000.0 || !seen.contains_key("box-7.uring") {
            sender.send_to(&[0; 1_000], target).expect("sent");
            let event = next_event(&mut stream).expect("the source goes on");
            if event.topic == "box-7.network.lo" {
                loopback_bytes = event.words["rx_bytes_per_s"];
            }
            seen.insert(event.topic.clone(), event);
        }
        let cpu = &seen["box-7.cpu"];
        assert_eq!(cpu.kind, 1);
        assert!((0.0..=100.0).contains(&cpu.words["busy_pct"]) && cpu.words["cpus"] >= 1.0);
        assert!(seen.keys().any(|topic| topic.starts_with("box-7.cpu.")));
        let memory = &seen["box-7.memory"].words;
        assert!(memory["available_bytes"] <= memory["total_bytes"]);
        assert!(memory["swap_free_bytes"] <= memory["swap_total_bytes"]);
        let lo = &seen["box-7.network.lo"].words;
        assert!(lo["rx_packets"] > 0.0 && lo["rx_bytes"] >= lo["rx_packets"]);
        let counts = metrics.stop();
        assert!(counts.samples >= 2 && counts.frames_sent > 4);
        assert_eq!(counts.parts_failed, 0);
        // All that was counted as sent is there, then the end.
        while next_event(&mut stream).is_some() {}
    }

    #[test]
    fn a_reader_that_does_not_read_gets_whole_frames_and_the_rest_is_counted() {
        let (metrics, mut stream) = HostMetrics::start(&settings(10)).expect("starts");
        while metrics.counts().frames_skipped == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        let reader = thread::spawn(move || {
            let mut frames = 0;
            while next_event(&mut stream).is_some() {
                frames += 1;
            }
            frames
        });
        let sent_when_full = metrics.counts().frames_sent;
        while metrics.counts().frames_sent == sent_when_full {
            thread::sleep(Duration::from_millis(5));
        }
        let counts = metrics.stop();
        assert_eq!(reader.join().expect("frames are whole"), counts.frames_sent);
    }

    #[test]
    fn it_stops_at_once_and_when_nobody_listens() {
        let (metrics, mut stream) = HostMetrics::start(&settings(3_600_000)).expect("starts");
        let counts = metrics.stop();
        assert_eq!((counts.frames_sent, counts.frames_skipped), (0, 0));
        assert!(next_event(&mut stream).is_none());

        let (mut metrics, stream) = HostMetrics::start(&settings(10)).expect("starts");
        drop(stream);
        let thread = metrics.thread.take().expect("runs");
        thread.join().expect("ends by itself");
    }
}
