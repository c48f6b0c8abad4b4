//! kill -9 of producers and of the server, in a loop, in the middle of acknowledged sessions: every acknowledged event was
//! processed exactly once, and none was invented.
//!
//! Invariant: what is acknowledged ≤ what is processed ≤ what was sent, and the digest over processed events is that of
//! numbers 1 to the last, each once.

use crate::client::Client;
use crate::program::number;
use crate::server::{Config, Server, listener};
use serde_json::Value;
use sluice::event::Priority;
use sluice::feed::{ProducerRecord, digest};
use sluice::sink::ProducerFile;
use sluice::wire::native_v2::{EventFrame, Topic, encode_event};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

/// Rounds: a kill each. `SLUICE_KILL_ROUNDS` in the environment asks for more.
const ROUNDS: u64 = 20;

/// Producers: one over TCP, one over a Unix socket.
const PRODUCERS: [(u64, &str); 2] = [(1, "stream"), (2, "local")];

/// A small generator of the moments: what happens at them is chance anyway.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// The digest of a producer's events from number 1, recomputed from what its client sends.
struct Digests {
    producer: u64,
    by_count: Vec<u64>,
}

impl Digests {
    fn up_to(&mut self, count: u64) -> u64 {
        let mut frame = Vec::new();
        while self.by_count.len() as u64 <= count {
            let sequence = self.by_count.len() as u64;
            let payload = format!("{}/{sequence}", self.producer);
            frame.clear();
            encode_event(
                &EventFrame {
                    producer: self.producer,
                    sequence,
                    time_ns: 0,
                    kind: 0,
                    priority: Priority::High,
                    topic: Topic::Name(b"session"),
                    payload: payload.as_bytes(),
                },
                &mut frame,
            );
            let crc = u32::from_le_bytes(frame[12..16].try_into().expect("four bytes"));
            let before = self.by_count[self.by_count.len() - 1];
            self.by_count.push(digest(before, sequence, crc));
        }
        self.by_count[count as usize]
    }
}

/// One producer: its process, its diary, its digests.
struct Producer<'a> {
    id: u64,
    listener: &'a str,
    config: &'a Config,
    client: Client,
    digests: Digests,
    /// How far its diary is read, and what stands there.
    read: u64,
    acknowledged: u64,
    sent: u64,
}

impl<'a> Producer<'a> {
    fn start(config: &'a Config, (id, listener): (u64, &'a str)) -> Producer<'a> {
        let digests = Digests { producer: id, by_count: vec![0] };
        let client = Producer::client(config, id);
        Producer { id, listener, config, client, digests, read: 0, acknowledged: 0, sent: 0 }
    }

    fn client(config: &Config, id: u64) -> Client {
        let folder = config.folder.path().to_str().expect("text");
        Client::start("session.py", &["produce", folder, &id.to_string()])
    }

    fn file(&self, name: &str) -> PathBuf {
        self.config.file(&format!("{name}-{}", self.id))
    }

    /// Tells it where the server is now.
    fn find(&self, server: &Server<'_>) {
        std::fs::write(self.file("new"), server.at(self.listener)).expect("written");
        std::fs::rename(self.file("new"), self.file("address")).expect("renamed");
    }

    /// The last numbers that were acknowledged and sent, as its diary has them by now.
    fn diary(&mut self) -> (u64, u64) {
        let Ok(mut file) = File::open(self.file("diary")) else { return (0, 0) };
        let mut text = String::new();
        file.seek(SeekFrom::Start(self.read)).expect("it only grows");
        file.read_to_string(&mut text).expect("text");
        let whole = text.rfind('\n').map_or(0, |last| last + 1);
        self.read += whole as u64;
        for line in text[..whole].lines() {
            let (word, number) = line.split_once(' ').expect("a word and a number");
            let last = if word == "send" { &mut self.sent } else { &mut self.acknowledged };
            *last = number.parse::<u64>().expect("a number").max(*last);
        }
        (self.acknowledged, self.sent)
    }

    /// Waits until more than `before` is acknowledged.
    fn wait_for_more(&mut self, before: u64) {
        while self.diary().0 <= before {
            assert!(self.client.is_running(), "producer {} goes on", self.id);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What is remembered of it is true.
    fn check(&mut self, record: &ProducerRecord) {
        let (acknowledged, sent) = self.diary();
        let words = format!("acknowledged {acknowledged}, sent {sent}, {record:?}");
        assert!(acknowledged <= record.processed && record.processed <= sent, "{words}");
        assert_eq!(record.count, record.processed, "{words}");
        assert_eq!(record.digest, self.digests.up_to(record.processed), "{words}");
    }
}

fn check_file(config: &Config, producers: &mut [Producer<'_>]) {
    let (_, records) = ProducerFile::open(&config.file("producers"), 4).expect("it is whole");
    for producer in producers {
        let record = records.iter().find(|record| record.id == producer.id);
        producer.check(record.expect("it is remembered"));
    }
}

fn check_report(report: &Value, producers: &mut [Producer<'_>]) {
    let records = report["producers"].as_array().expect("a list");
    assert_eq!(records.len(), producers.len(), "no producer is invented: {records:#?}");
    let hex = |value: &Value| u64::from_str_radix(value.as_str().expect("hex"), 16).expect("hex");
    for producer in producers {
        let found = records.iter().find(|record| hex(&record["id"]) == producer.id).expect("it is there");
        let record = ProducerRecord {
            id: producer.id,
            processed: number(found, "/processed"),
            count: number(found, "/count"),
            digest: hex(&found["digest"]),
        };
        producer.check(&record);
        assert_eq!(producer.diary().0, record.processed, "all is acknowledged");
    }
}

#[test]
fn every_acknowledged_event_is_processed_once_across_kills() {
    let rounds = std::env::var("SLUICE_KILL_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number"));
    let config = Config::new(
        &[
            &listener("stream", "tcp", ""),
            &listener("local", "unix", ""),
            "[network]\nproducers_file = 'FOLDER/producers'\nproducers_max = 4\n",
        ]
        .concat(),
    );
    let mut moments = Moments(u64::from(std::process::id()));
    let mut server = config.start();
    let mut producers = PRODUCERS.map(|producer| Producer::start(&config, producer));
    producers.iter().for_each(|producer| producer.find(&server));
    let mut before = [0; PRODUCERS.len()];
    for round in 0..rounds {
        for (producer, before) in producers.iter_mut().zip(&mut before) {
            producer.wait_for_more(*before);
            *before = producer.diary().0;
        }
        std::thread::sleep(Duration::from_micros(moments.next(30_000)));
        if round % 2 == 0 {
            server.kill();
            check_file(&config, &mut producers);
            server = config.start();
            producers.iter().for_each(|producer| producer.find(&server));
        } else {
            let victim = &mut producers[moments.next(PRODUCERS.len() as u64) as usize];
            let successor = Producer::client(&config, victim.id);
            std::mem::replace(&mut victim.client, successor).kill();
        }
    }
    std::fs::write(config.file("stop"), "").expect("written");
    for producer in &mut producers {
        let sent = number(&producer.client.hear(), "/sent");
        assert_eq!(producer.diary().0, sent, "the producer ends when all is acknowledged");
    }
    let report = server.stop();
    check_report(&report, &mut producers);
    check_file(&config, &mut producers);
}
