//! Settings: typed, complete and checked; every part is handed to the agents that it concerns, and only that.

use super::control_file::ControlSettings;
use super::error::{ConfigError, Finding, line_of, line_of_key};
use super::file::{ConfigFile, FeedTable, InterfaceTable, LineTable};
use super::integrity::Integrity;
use super::letters_file::DeadLetters;
use super::network_file::ListenTable;
use super::network_settings::{self as network, Connector, HostSettings, Listener, NetworkSettings};
use super::recovery_file::{RecoverySource, RecoveryTable};
use super::routing_file::{OverflowWishes, TopicClass, TopicTable, WorkerSettings};
use super::rules_settings::RulesSettings;
use super::transactional_file::TransactionalSettings;
use super::windows_file::WindowSettings;
use super::wishes::{AttachWish, DriveMode, HugeWish, IdleWish, QueuesWish, ThreadingWish, ZeroCopyWish};
use super::{network_validate, recovery_file, validate};
use crate::event::{Class, Destination, Protocol};
use crate::limits::SLOT_PAYLOAD_BYTES;
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The documented default file.
const DEFAULT_TEXT: &str = include_str!("../../config/appliance.toml");
const DEFAULT_NAME: &str = "the built-in config/appliance.toml";

/// Everything that the appliance is told, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where the settings came from, for messages: a path, or words.
    pub origin: String,
    /// Interfaces to receive from; names are distinct.
    pub interfaces: Vec<Interface>,
    /// Feeds; names, and destinations over all of them, are distinct.
    pub feeds: Vec<Feed>,
    /// Sockets that peers connect to or send datagrams to.
    pub listeners: Vec<Listener>,
    /// Servers to connect to.
    pub connectors: Vec<Connector>,
    /// io_uring, its buffers, and acknowledged sessions.
    pub network: NetworkSettings,
    /// The host's own figures as events.
    pub host: HostSettings,
    /// What happens to packets for destinations of no feed.
    pub admission: Admission,
    /// Places of the priority queues, indexed by [`Class`]; powers of two.
    pub queue_capacities: [usize; Class::ALL.len()],
    /// What happens to events whose queue is full, where that is said for all sources.
    pub overflow: OverflowWishes,
    /// Topics of native frames that have a class at least.
    pub topics: Vec<TopicClass>,
    /// Who processes the events of each class.
    pub workers: WorkerSettings,
    /// The transactional processor.
    pub transactional: TransactionalSettings,
    /// The event pool.
    pub pool: PoolSettings,
    /// Threads and what they are pinned to.
    pub threads: ThreadSettings,
    /// Message types that go to another queue than their protocol's table says.
    pub class_overrides: Vec<ClassOverride>,
    /// The control plane.
    pub control: ControlSettings,
    /// Where events go that were not processed.
    pub dead_letters: DeadLetters,
    /// What the batch processor adds up.
    pub windows: WindowSettings,
    /// Alert rules.
    pub rules: RulesSettings,
    /// The report and its company.
    pub report: ReportSettings,
    /// How a run ends.
    pub run: RunSettings,
    hash: u64,
}

/// An interface to receive from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's name for it.
    pub name: String,
    /// Which receive queues are taken; a list has distinct numbers.
    pub queues: QueuesWish,
    /// How shard and kernel share the work.
    pub drive: DriveMode,
    /// Where the XDP program goes.
    pub attach: AttachWish,
    /// Whether the NIC writes into the UMEM.
    pub zero_copy: ZeroCopyWish,
    /// Entries of the fill ring and of the RX ring each; a power of two.
    pub ring_entries: u32,
    /// Whether the UMEM is asked for in hugepages.
    pub hugepages: bool,
    /// Whether the multicast groups of its lines are joined on it.
    pub join: bool,
    /// What happens to its events whose queue is full, where that is said.
    pub overflow: OverflowWishes,
}

/// A feed: one protocol on one to four lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Its name in reports.
    pub name: String,
    /// What its packets are.
    pub protocol: Protocol,
    /// Its lines, 1 to [`crate::limits::LINES_MAX`]; a line's index is its [`crate::event::LineIndex`].
    pub lines: Vec<Line>,
    /// How gaps of its streams are treated.
    pub integrity: Integrity,
    /// The index of the feed that it has snapshots of.
    pub snapshot_of: Option<usize>,
    /// How lost messages are asked for, where they are.
    pub recovery: Option<Box<RecoverySource>>,
}

/// One copy of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its name in reports, such as "A".
    pub name: String,
    /// Where its packets are sent to.
    pub destination: Destination,
    /// The one interface that it comes in by, which has a table; `None` for every interface.
    pub interface: Option<String>,
    /// The one sender of its packets, of the family of its multicast destination; `None` for any.
    pub source: Option<IpAddr>,
}

impl Line {
    /// Whether packets of this line are taken from the interface of that name.
    pub fn comes_in_by(&self, interface: &str) -> bool {
        self.interface.as_deref().is_none_or(|own| own == interface)
    }
}

/// What happens to packets for destinations of no feed, once they reach a shard. The XDP program never
/// redirects them, so that this matters to captures and sockets only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// They are refused, as `unknown_destination`.
    FeedsOnly,
    /// They are decoded as this protocol, or as the one that their bytes look like.
    Everything {
        /// The protocol, or `None` for automatic.
        protocol: Option<Protocol>,
    },
}

/// The event pool of each shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Slots by class of [`SLOT_PAYLOAD_BYTES`]; `None` leaves the number to the itemised bill.
    pub slots: [Option<u32>; SLOT_PAYLOAD_BYTES.len()],
    /// What pages are wished for.
    pub hugepages: HugeWish,
    /// Whether memory is locked against swapping.
    pub lock_memory: bool,
}

/// Threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadSettings {
    /// How agents are laid on threads.
    pub mode: ThreadingWish,
    /// What an agent does without work.
    pub idle: IdleWish,
    /// CPUs to pin to, distinct, in any order; empty for all that the process may use.
    pub cpus: Vec<u32>,
    /// SCHED_FIFO priority, 1 to 99; `None` keeps the ordinary scheduler.
    pub fifo_priority: Option<u8>,
    /// Shards, 1 to [`crate::limits::SHARDS_MAX`].
    pub shards: usize,
    /// Frames polled from a lane in one turn, 1 to [`crate::limits::BURST_MAX`].
    pub burst: usize,
}

/// A message type that goes to the queue of `class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassOverride {
    /// The type's protocol.
    pub protocol: Protocol,
    /// The type, as [`crate::event::EventHeader::kind`] has it.
    pub kind: u16,
    /// Its class.
    pub class: Class,
}

/// The report and its company.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportSettings {
    /// Where report.json goes; relative paths are relative to the working directory.
    pub path: Option<PathBuf>,
    /// Where the latency plot (SVG) goes.
    pub plot: Option<PathBuf>,
    /// Where what happens to streams and lines goes, as lines of JSON.
    pub control: Option<PathBuf>,
    /// Time between status lines; `None` prints none.
    pub status_interval: Option<Duration>,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSettings {
    /// How long stopped sources and filled queues may take to drain; what is left then is in flight.
    pub drain_deadline: Duration,
}

impl Settings {
    /// Settings from a file.
    ///
    /// # Errors
    /// The file can't be read, is not TOML, or has keys or values that are not allowed; the error says where.
    pub fn load(path: impl AsRef<Path>) -> Result<Settings, ConfigError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
        Settings::from_text(&text, &path.display().to_string())
    }

    /// Settings from TOML text; `origin` names it in messages.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn from_text(text: &str, origin: &str) -> Result<Settings, ConfigError> {
        let mut file = parse(text, origin)?;
        let mut findings = validate::findings(&file, text);
        if findings.is_empty() {
            let mut found = Vec::new();
            network_validate::read_passwords(&mut file, &mut found);
            recovery_file::read_passwords(&mut file, &mut found);
            findings = validate::located(found, text);
        }
        if !findings.is_empty() {
            return Err(ConfigError::Invalid { file: origin.to_owned(), findings });
        }
        file.listen.iter_mut().for_each(ListenTable::complete);
        file.batch.complete();
        file.feed.iter_mut().filter_map(|feed| feed.recovery.as_mut()).for_each(RecoveryTable::complete);
        Ok(Settings::typed(&file, origin))
    }

    /// The settings of the documented default file, which is built in.
    pub fn embedded_default() -> Settings {
        Settings::from_text(DEFAULT_TEXT, DEFAULT_NAME).expect("a test checks the built-in file")
    }

    /// The text of the documented default file.
    pub fn embedded_default_text() -> &'static str {
        DEFAULT_TEXT
    }

    /// Settings for a replay without a config file: defaults, no interface, and every destination admitted,
    /// as `protocol` or, with `None`, as what its packets look like.
    pub fn for_replay(protocol: Option<Protocol>) -> Settings {
        let mut file = ConfigFile::default();
        file.steering.admit_unknown = true;
        let mut settings = Settings::typed(&file, "no config file (built-in values for replays)");
        settings.admission = Admission::Everything { protocol };
        let protocol_name = protocol.map_or("auto", Protocol::name);
        settings.hash = fnv1a(settings.hash, protocol_name.as_bytes());
        settings
    }

    /// Identifies the configuration: a hash, in 16 hex digits, over all values including the implied ones, but for
    /// passwords.
    /// Comments, spaces, the order of keys and defaults spelled out do not change it.
    pub fn config_hash(&self) -> String {
        format!("{:016x}", self.hash)
    }

    /// Checks that a live run has something to receive from and something to receive.
    ///
    /// # Errors
    /// There is no interface, listener or connector, and the host's figures are off; or an interface has no feed.
    pub fn check_runnable(&self) -> Result<(), ConfigError> {
        let missing =
            |table, advice| Err(ConfigError::NotRunnable { file: self.origin.clone(), table, advice });
        let sockets = !self.listeners.is_empty() || !self.connectors.is_empty();
        if self.interfaces.is_empty() && !sockets && !self.host.enabled {
            return missing(
                "[[interface]], [[listen]] or [[connect]]",
                "add one with the interface, the address or the servers to receive from",
            );
        }
        if !self.interfaces.is_empty() && self.feeds.is_empty() {
            return missing(
                "[[feed]]",
                "add one with the protocol and destinations of the feed to receive from the interface",
            );
        }
        Ok(())
    }

    /// Every destination that feeds name, with the index of its feed and of its line there.
    pub fn destinations(&self) -> impl Iterator<Item = (Destination, usize, usize)> + '_ {
        self.feeds.iter().enumerate().flat_map(|(feed_index, feed)| {
            let lines = feed.lines.iter().enumerate();
            lines.map(move |(line_index, line)| (line.destination, feed_index, line_index))
        })
    }

    /// Every line that comes in by the interface of that name, in the order of its feeds.
    pub fn lines_by<'a>(&'a self, interface: &'a str) -> impl Iterator<Item = &'a Line> + 'a {
        self.feeds.iter().flat_map(|feed| &feed.lines).filter(move |line| line.comes_in_by(interface))
    }

    fn typed(file: &ConfigFile, origin: &str) -> Settings {
        let queues = &file.queues;
        Settings {
            origin: origin.to_owned(),
            interfaces: file.interface.iter().map(interface).collect(),
            feeds: file.feed.iter().map(|table| feed(table, &file.feed)).collect(),
            listeners: network::listeners(file),
            connectors: network::connectors(file),
            network: network::network(file),
            host: network::host(file),
            admission: match file.steering.admit_unknown {
                true => Admission::Everything { protocol: None },
                false => Admission::FeedsOnly,
            },
            queue_capacities: [
                queues.realtime_capacity,
                queues.transactional_capacity,
                queues.batch_capacity,
            ]
            .map(|capacity| capacity as usize),
            overflow: queues.overflow.wishes(),
            topics: file.topic.iter().map(topic).collect(),
            workers: WorkerSettings::from(&file.workers),
            transactional: TransactionalSettings::from(&file.transactional),
            pool: PoolSettings {
                slots: [file.pool.slots_64, file.pool.slots_192, file.pool.slots_1984, file.pool.slots_65536],
                hugepages: file.pool.hugepages,
                lock_memory: file.pool.lock_memory,
            },
            threads: threads(file),
            class_overrides: class_overrides(file),
            control: ControlSettings::from(&file.control),
            dead_letters: DeadLetters::from(&file.dead_letters),
            windows: WindowSettings::typed(file),
            rules: RulesSettings::from(&file.rules),
            report: ReportSettings {
                path: file.report.path.as_ref().map(PathBuf::from),
                plot: file.report.plot.as_ref().map(PathBuf::from),
                control: file.report.control.as_ref().map(PathBuf::from),
                status_interval: match file.report.status_interval_s {
                    0 => None,
                    seconds => Some(Duration::from_secs(seconds.into())),
                },
            },
            run: RunSettings { drain_deadline: Duration::from_secs(file.run.drain_deadline_s.into()) },
            hash: fnv1a(FNV_OFFSET, canonical(file).as_bytes()),
        }
    }
}

fn topic(table: &TopicTable) -> TopicClass {
    TopicClass { pattern: table.pattern.clone(), class: table.class }
}

fn interface(table: &InterfaceTable) -> Interface {
    Interface {
        name: table.name.clone(),
        queues: table.queues.clone(),
        drive: table.drive,
        attach: table.attach,
        zero_copy: table.zero_copy,
        ring_entries: table.ring_entries,
        hugepages: table.hugepages,
        join: table.join,
        overflow: table.overflow.wishes(),
    }
}

fn feed(table: &FeedTable, feeds: &[FeedTable]) -> Feed {
    let of = |name: &String| feeds.iter().position(|feed| feed.name == *name);
    Feed {
        name: table.name.clone(),
        protocol: table.protocol,
        lines: table.lines.iter().map(line).collect(),
        integrity: Integrity::from(&table.integrity),
        snapshot_of: table.snapshot_of.as_ref().and_then(of),
        recovery: table.recovery.as_ref().map(|recovery| Box::new(recovery.typed(0))),
    }
}

fn line(table: &LineTable) -> Line {
    Line {
        name: table.name.clone(),
        destination: table.destination.0.into(),
        interface: table.interface.clone(),
        source: table.source.map(|source| source.to_canonical()),
    }
}

fn threads(file: &ConfigFile) -> ThreadSettings {
    let table = &file.threads;
    ThreadSettings {
        mode: table.mode,
        idle: table.idle,
        cpus: table.cpus.clone(),
        fifo_priority: table.fifo_priority.and_then(|priority| u8::try_from(priority).ok()),
        shards: table.shards as usize,
        burst: table.burst as usize,
    }
}

fn class_overrides(file: &ConfigFile) -> Vec<ClassOverride> {
    let mut overrides = Vec::new();
    for (protocol_name, types) in &file.classes {
        let Ok(protocol) = protocol_name.parse::<Protocol>() else { continue };
        overrides.extend(types.iter().filter_map(|(name, class)| {
            protocol.type_code(name).map(|kind| ClassOverride { protocol, kind, class: *class })
        }));
    }
    // In an order that does not hang on how the names sort.
    overrides.sort_by_key(|over| (over.protocol, over.kind));
    overrides
}

fn parse(text: &str, origin: &str) -> Result<ConfigFile, ConfigError> {
    parse_as(text, origin)
}

/// Parses a file of any shape; an error says in which line.
pub(super) fn parse_as<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, ConfigError> {
    let failed = |key: String, line, problem: &str| {
        let finding = Finding { key, line, problem: problem.replace('`', "\"") };
        ConfigError::Parse { file: origin.to_owned(), finding }
    };
    let line_of_span = |error: &toml::de::Error| error.span().map(|span| line_of(text, span.start));
    let document = toml::Deserializer::parse(text)
        .map_err(|error| failed(String::new(), line_of_span(&error), error.message()))?;
    // A track of our own, so that the path is at hand whatever the error is.
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(document, &mut track);
    T::deserialize(tracked).map_err(|error| {
        let path = track.path().to_string();
        let key = if path == "." { String::new() } else { path };
        let line = line_of_span(&error).or_else(|| line_of_key(text, &key));
        failed(key, line, error.message())
    })
}

fn canonical(file: &ConfigFile) -> String {
    toml::to_string(file).expect("a parsed file can be written")
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits: stable over versions and machines, and nobody needs more of a label.
fn fnv1a(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_file_is_right_and_runnable() {
        let settings = Settings::embedded_default();
        assert!(settings.check_runnable().is_ok());
        assert_eq!(settings.admission, Admission::FeedsOnly);
        assert_eq!(settings.queue_capacities, [16_384, 65_536, 65_536]);
    }

    #[test]
    fn the_hash_sees_values_and_nothing_else() {
        let hash = |text: &str| Settings::from_text(text, "test").expect("is right").config_hash();
        let plain = hash("[threads]\nshards = 1\n[run]\n");
        assert_eq!(plain, hash("# a comment\n[run]\ndrain_deadline_s   =   10\n"));
        assert_ne!(plain, hash("[threads]\nshards = 2\n"));
        assert_eq!(plain.len(), 16);
        // The published test vectors of FNV-1a.
        assert_eq!(fnv1a(FNV_OFFSET, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(FNV_OFFSET, b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn replays_admit_everything() {
        let automatic = Settings::for_replay(None);
        assert_eq!(automatic.admission, Admission::Everything { protocol: None });
        let iex = Settings::for_replay(Some(Protocol::IexTp));
        assert_eq!(iex.admission, Admission::Everything { protocol: Some(Protocol::IexTp) });
        assert_ne!(automatic.config_hash(), iex.config_hash());
        assert!(iex.check_runnable().is_err());
    }

    #[test]
    fn class_overrides_are_typed() {
        let text = "[classes.iex-tp]\nT = 'batch'\n8 = 'realtime'\n[classes.cme-mdp3]\n32 = 'realtime'\n";
        let settings = Settings::from_text(text, "test").expect("is right");
        let over = |protocol, kind, class| ClassOverride { protocol, kind, class };
        assert_eq!(
            settings.class_overrides,
            [
                over(Protocol::IexTp, u16::from(b'8'), Class::Realtime),
                over(Protocol::IexTp, u16::from(b'T'), Class::Batch),
                over(Protocol::CmeMdp3, 32, Class::Realtime),
            ]
        );
    }
}
