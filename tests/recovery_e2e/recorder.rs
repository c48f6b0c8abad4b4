//! The appliance in this process, wired from a configuration as the program wires it, with processors that record what
//! they see.
//!
//! Invariant: what is recorded is what processors were shown, in the order in which they were; nothing is sorted.

use sluice::agents::{NoticeReader, Processor, ProcessorAgent, Shard};
use sluice::appliance::{assemble_with, intake_settings};
use sluice::config::Settings;
use sluice::event::Nanos;
use sluice::feed::{Event, GapEnd, GapRecord, Notice, NoticeLog, StreamSnapshot};
use sluice::ledger::{Counter, Ledger};
use sluice::os::Clock;
use sluice::process::{Fate, Subject};
use sluice::runtime::Agent;
use sluice::source::FrameSource;
use sluice::source::capture::CaptureSource;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long nothing at all may happen before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// An event as a processor saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) sequence: u64,
    pub(crate) marks: u8,
    pub(crate) body: Vec<u8>,
}

/// A processor that tells what it sees.
struct Witness(Sender<Seen>);

impl Processor for Witness {
    fn process(&mut self, subject: &Subject<'_>, _now: Nanos) -> Fate {
        let (sequence, marks) = (subject.header.sequence, subject.header.marks);
        self.0.send(Seen { sequence, marks, body: subject.payload.to_vec() }).expect("the test listens");
        Fate::Delivered
    }
}

/// An appliance that runs on the test's thread, turn by turn.
pub(crate) struct Recorder<S> {
    shard: Shard<S>,
    processors: Vec<ProcessorAgent<Witness>>,
    notices: NoticeReader,
    log: NoticeLog,
    told: Receiver<Seen>,
    clock: Clock,
    /// What processors have seen so far.
    pub(crate) seen: Vec<Seen>,
    /// Numbers that were given up so far.
    pub(crate) lost: u64,
    /// What was told of streams and lines so far.
    pub(crate) noticed: Vec<Notice>,
    /// Where the first inlet is bound.
    pub(crate) address: Option<SocketAddr>,
}

/// What is left of it at the end.
pub(crate) struct Recorded {
    pub(crate) seen: Vec<Seen>,
    pub(crate) ledger: Ledger,
    pub(crate) streams: Vec<StreamSnapshot>,
}

/// A recorder without lanes: all that comes comes by sockets.
pub(crate) fn by_sockets(config: &str) -> Recorder<CaptureSource> {
    Recorder::start(config, Vec::new())
}

impl<S: FrameSource + Send + 'static> Recorder<S> {
    /// Wires it from a configuration's text, with these lanes, and starts it.
    pub(crate) fn start(config: &str, lanes: Vec<S>) -> Recorder<S> {
        let settings = Settings::from_text(config, "the test").unwrap_or_else(|error| panic!("{error}"));
        let (tell, told) = channel();
        let clock = Clock::new();
        let mut addresses = Vec::new();
        let witness = |_, _, _: &_| Witness(tell.clone());
        let assembly =
            assemble_with(&settings, &intake_settings(&settings), vec![lanes], None, clock, witness);
        let assembly =
            assembly.expect("memory for a pool").with_network(&settings, |address| addresses.push(address));
        let mut assembly = assembly.unwrap_or_else(|error| panic!("{error}"));
        let mut recorder = Recorder {
            shard: assembly.shards.remove(0),
            processors: assembly.processors,
            notices: assembly.notices.remove(0),
            log: NoticeLog::default(),
            told,
            clock,
            seen: Vec::new(),
            lost: 0,
            noticed: Vec::new(),
            address: addresses.first().copied().flatten(),
        };
        recorder.shard.on_start(clock.now());
        recorder
    }

    /// One turn of all agents, as they take them on a thread that they share. Returns how much there was to do.
    fn turn(&mut self) -> usize {
        let now = self.clock.now();
        let mut work = self.shard.do_work(now);
        self.shard.housekeeping(now);
        for processor in &mut self.processors {
            work += processor.do_work(now);
        }
        self.seen.extend(self.told.try_iter());
        let (lost, noticed) = (&mut self.lost, &mut self.noticed);
        self.notices.drain(&mut self.log, |notice| {
            if let Event::Gap(record @ GapRecord { end: GapEnd::Lost(_), .. }) = &notice.event {
                *lost += record.numbers();
            }
            noticed.push(*notice);
        });
        work
    }

    /// Events that found no place in a full queue so far.
    pub(crate) fn shed(&self) -> u64 {
        self.shard.board().read(Counter::Dropped)
    }

    /// Runs until the test has seen what it waits for.
    pub(crate) fn run_until(&mut self, is_done: impl Fn(&Recorder<S>) -> bool) {
        let (mut progress, mut since) = (0, Instant::now());
        while !is_done(self) {
            if self.turn() == 0 {
                std::thread::sleep(Duration::from_micros(50));
            }
            let now = self.seen.len() + self.noticed.len();
            if now != progress {
                (progress, since) = (now, Instant::now());
            }
            assert!(
                since.elapsed() < PATIENCE,
                "it hangs: {} seen, {} lost; {} shed, without a fate: {:?}; {:?}",
                self.seen.len(),
                self.lost,
                self.shed(),
                self.fateless(),
                self.noticed.last_chunk::<8>()
            );
        }
    }

    /// Ranges of numbers that were neither seen nor given up (so shed, or forgotten), below the highest one that was.
    fn fateless(&self) -> Vec<Range<u64>> {
        let lost = self.noticed.iter().filter_map(|notice| match notice.event {
            Event::Gap(record @ GapRecord { end: GapEnd::Lost(_), .. }) => {
                Some(record.first..record.last + 1)
            }
            _ => None,
        });
        let seen = self.seen.iter().map(|seen| seen.sequence..seen.sequence + 1);
        let mut known: Vec<Range<u64>> = seen.chain(lost).collect();
        known.sort_by_key(|range| range.start);
        let mut next = 1;
        let mut open = Vec::new();
        for range in known {
            if range.start > next {
                open.push(next..range.start);
            }
            next = next.max(range.end);
        }
        open
    }

    /// Ends it as a thread ends its agents; its books must balance.
    pub(crate) fn end(mut self) -> Recorded {
        self.shard.stop();
        self.run_until(|recorder| recorder.shard.finished());
        let now = self.clock.now();
        self.shard.on_close(now);
        self.run_until(|recorder| recorder.processors.iter().all(|processor| processor.finished()));
        let report = self.shard.into_report();
        let mut ledger = report.ledger;
        for mut processor in self.processors {
            processor.on_close(now);
            for report in processor.into_report().partitions {
                ledger.events.absorb(&report.events);
                ledger.queues[report.class as usize].absorb(&report.queue);
            }
        }
        assert!(ledger.imbalances().is_empty(), "{:?}\n{ledger:#?}", ledger.imbalances());
        assert_eq!(ledger.events.in_flight, 0, "{ledger:#?}");
        Recorded { seen: self.seen, ledger, streams: report.streams }
    }
}

impl Recorded {
    /// The stream that has this name.
    pub(crate) fn stream(&self, name: &str) -> &StreamSnapshot {
        let found = self.streams.iter().find(|stream| stream.name.to_string() == name);
        found.unwrap_or_else(|| panic!("no stream {name} in {:?}", self.streams))
    }

    /// Numbers rose all the time, and every body is that of its number.
    pub(crate) fn assert_in_order(&self, messages: &[Vec<u8>]) {
        assert!(self.seen.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "numbers rise");
        for seen in &self.seen {
            assert_eq!(seen.body, messages[seen.sequence as usize - 1], "number {}", seen.sequence);
        }
    }

    /// Every message of the session was seen, once and in its place.
    pub(crate) fn assert_whole(&self, messages: &[Vec<u8>]) {
        self.assert_in_order(messages);
        assert_eq!(self.seen.len(), messages.len(), "{:#?}", self.streams);
    }
}
