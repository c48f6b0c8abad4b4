//! The thread of the office: it drains, writes, and answers who asks for the letters that are kept.
//!
//! Invariant: when it has been stopped, each letter that was written to a port before is in the office that it gives back.

use super::error::DeadLetterError;
use super::office::LetterOffice;
use super::reason::Reason;
use super::record::Letter;
use crate::os::monotonic_now;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Between two looks at the rings: in it, a ring takes 2 MiB, which at the usual rate is far more than may come.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What the thread is asked for.
struct ListRequest {
    reason: Option<Reason>,
    newest: usize,
    answer: Sender<Vec<Letter>>,
}

/// A running office.
#[derive(Debug)]
pub struct OfficeThread {
    requests: Sender<ListRequest>,
    thread: JoinHandle<LetterOffice>,
}

/// The time of day, ns since the Unix epoch.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

impl OfficeThread {
    /// Starts the thread. What is to be told of the file is handed to `tell`, once for each change.
    ///
    /// # Errors
    /// There can be no further thread.
    pub fn start(
        mut office: LetterOffice,
        mut tell: impl FnMut(&str) + Send + 'static,
    ) -> Result<OfficeThread, DeadLetterError> {
        let (requests, inbox) = channel();
        let work = move || {
            run(&mut office, &inbox, &mut tell);
            office
        };
        let named = std::thread::Builder::new().name("dead-letters".to_owned());
        let thread = named.spawn(work).map_err(DeadLetterError::Thread)?;
        Ok(OfficeThread { requests, thread })
    }

    /// The `newest` letters that are kept, of one reason or of all, the newest last. None if the thread has ended.
    pub fn list(&self, reason: Option<Reason>, newest: usize) -> Vec<Letter> {
        let (answer, listed) = channel();
        // It ends early only by a panic, which `stop` tells of.
        if self.requests.send(ListRequest { reason, newest, answer }).is_err() {
            return Vec::new();
        }
        listed.recv().unwrap_or_default()
    }

    /// Takes what is still in the rings, writes it out and ends. Agents must have stopped before.
    ///
    /// # Errors
    /// The thread had panicked.
    pub fn stop(self) -> Result<LetterOffice, DeadLetterError> {
        drop(self.requests);
        self.thread.join().map_err(|_| DeadLetterError::Panicked)
    }
}

fn run(office: &mut LetterOffice, inbox: &Receiver<ListRequest>, tell: &mut impl FnMut(&str)) {
    let mut wait = LOOK_EVERY;
    loop {
        let request = inbox.recv_timeout(wait);
        let taken = office.step(monotonic_now(), unix_now());
        wait = if taken > 0 { Duration::ZERO } else { LOOK_EVERY };
        if let Some(remark) = office.remark() {
            tell(&remark);
        }
        match request {
            Ok(ListRequest { reason, newest, answer }) => {
                let mut letters: Vec<Letter> = office.kept(reason).rev().take(newest).cloned().collect();
                letters.reverse();
                // Who asked may have gone.
                let _ = answer.send(letters);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    office.finish(monotonic_now(), unix_now());
    if let Some(remark) = office.remark() {
        tell(&remark);
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::LetterFile;
    use super::super::port::letter_way;
    use super::super::read::LetterLines;
    use super::*;
    use crate::config::DeadLetters;
    use crate::event::{DeadReason, EventHeader, ShardId, ShedReason};
    use std::io::BufReader;

    #[test]
    fn a_stopped_office_has_everything_and_a_running_one_lists() {
        const LETTERS: u64 = 3_000;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("letters.jsonl");
        let mut office =
            LetterOffice::new(10_000, Some(LetterFile::open(&path, 64 << 20, 2).expect("opens")));
        let mut ports = Vec::new();
        for _ in 0..3 {
            let (port, reader) = letter_way(&DeadLetters::default());
            office.add(reader);
            ports.push(port);
        }
        let thread = OfficeThread::start(office, |_| {}).expect("starts");
        let late = Reason::Dead(DeadReason::Late);
        let full = Reason::Shed(ShedReason::RealtimeQueueFull);
        for sequence in 0..LETTERS {
            let header = EventHeader { sequence, ..EventHeader::default() };
            let reason = if sequence % 2 == 0 { late } else { full };
            ports[sequence as usize % 3].write(reason, &header, b"payload", ShardId(0), 1, 1_000);
        }
        // The request comes behind all letters.
        let listed = thread.list(Some(late), 10);
        assert!(listed.len() == 10 && listed.iter().all(|letter| letter.reason == late));
        let header = EventHeader { sequence: LETTERS, ..EventHeader::default() };
        ports[0].write(late, &header, b"last", ShardId(0), 1, 1_000);
        drop(ports);
        let office = thread.stop().expect("ends");
        assert_eq!(office.kept(None).count() as u64, LETTERS + 1);
        let written = [late, full].map(|reason| office.counts(reason).written);
        assert_eq!(written, [LETTERS / 2 + 1, LETTERS / 2]);
        let lines = LetterLines::new(BufReader::new(std::fs::File::open(&path).expect("is there")));
        let mut sequences: Vec<u64> = lines.map(|letter| letter.expect("is right").sequence).collect();
        sequences.sort_unstable();
        assert_eq!(sequences, (0..=LETTERS).collect::<Vec<_>>());
    }
}
