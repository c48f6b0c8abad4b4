//! The config file as it is written: one struct per table, one field per key, defaults filled in.
//!
//! Invariant: field names are the TOML keys, so that a key path in an error is what the user wrote, and an
//! unknown key is refused. config/appliance.toml documents every key; a test holds its values against these.

use super::control_file::ControlTable;
use super::integrity::IntegrityTable;
use super::letters_file::LettersTable;
use super::network_file::{ConnectTable, HostTable, ListenTable, NetworkTable};
use super::recovery_file::RecoveryTable;
use super::routing_file::{OverflowTable, TopicTable, WorkersTable};
use super::rules_settings::RulesTable;
use super::transactional_file::TransactionalTable;
use super::validate as check;
use super::windows_file::BatchTable;
use super::wishes::{AttachWish, DriveMode, HugeWish, IdleWish, QueuesWish, ThreadingWish, ZeroCopyWish};
use crate::event::{Class, Protocol};
use garde::Validate;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConfigFile {
    #[garde(dive)]
    pub(super) interface: Vec<InterfaceTable>,
    #[garde(dive)]
    pub(super) feed: Vec<FeedTable>,
    #[garde(dive)]
    pub(super) listen: Vec<ListenTable>,
    #[garde(dive)]
    pub(super) connect: Vec<ConnectTable>,
    #[garde(dive)]
    pub(super) network: NetworkTable,
    #[garde(dive)]
    pub(super) host: HostTable,
    #[garde(skip)]
    pub(super) steering: SteeringTable,
    #[garde(dive)]
    pub(super) queues: QueuesTable,
    #[garde(dive)]
    pub(super) topic: Vec<TopicTable>,
    #[garde(dive)]
    pub(super) workers: WorkersTable,
    #[garde(dive)]
    pub(super) transactional: TransactionalTable,
    #[garde(dive)]
    pub(super) pool: PoolTable,
    #[garde(dive)]
    pub(super) threads: ThreadsTable,
    // By protocol name: a string, since the path of an error can show no key of another type.
    #[garde(skip)]
    pub(super) classes: BTreeMap<String, BTreeMap<String, Class>>,
    #[garde(dive)]
    pub(super) control: ControlTable,
    #[garde(dive)]
    pub(super) dead_letters: LettersTable,
    #[garde(dive)]
    pub(super) batch: BatchTable,
    #[garde(dive)]
    pub(super) rules: RulesTable,
    #[garde(dive)]
    pub(super) report: ReportTable,
    #[garde(dive)]
    pub(super) run: RunTable,
}

/// `[[interface]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct InterfaceTable {
    #[garde(custom(check::interface_name))]
    pub(super) name: String,
    #[serde(default)]
    #[garde(custom(check::queues))]
    pub(super) queues: QueuesWish,
    #[serde(default)]
    #[garde(skip)]
    pub(super) drive: DriveMode,
    #[serde(default)]
    #[garde(skip)]
    pub(super) attach: AttachWish,
    #[serde(default)]
    #[garde(skip)]
    pub(super) zero_copy: ZeroCopyWish,
    #[serde(default = "ring_entries")]
    #[garde(custom(check::power_of_two(check::RING_ENTRIES_MIN, check::RING_ENTRIES_MAX)))]
    pub(super) ring_entries: u32,
    #[serde(default = "yes")]
    #[garde(skip)]
    pub(super) hugepages: bool,
    #[serde(default = "yes")]
    #[garde(skip)]
    pub(super) join: bool,
    #[serde(default)]
    #[garde(dive)]
    pub(super) overflow: OverflowTable,
}

/// `[[feed]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct FeedTable {
    #[garde(custom(check::name))]
    pub(super) name: String,
    #[garde(skip)]
    pub(super) protocol: Protocol,
    #[garde(custom(check::line_count), dive)]
    pub(super) lines: Vec<LineTable>,
    #[serde(default)]
    #[garde(dive)]
    pub(super) integrity: IntegrityTable,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub(super) snapshot_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub(super) recovery: Option<RecoveryTable>,
}

/// One item of a feed's `lines`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct LineTable {
    #[garde(custom(check::name))]
    pub(super) name: String,
    #[garde(custom(check::destination))]
    pub(super) destination: Endpoint,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub(super) interface: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub(super) source: Option<IpAddr>,
}

/// `[steering]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SteeringTable {
    pub(super) admit_unknown: bool,
}

/// `[queues]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct QueuesTable {
    #[garde(custom(check::power_of_two(check::QUEUE_MIN, check::QUEUE_MAX)))]
    pub(super) realtime_capacity: u32,
    #[garde(custom(check::power_of_two(check::QUEUE_MIN, check::QUEUE_MAX)))]
    pub(super) transactional_capacity: u32,
    #[garde(custom(check::power_of_two(check::QUEUE_MIN, check::QUEUE_MAX)))]
    pub(super) batch_capacity: u32,
    #[garde(dive)]
    pub(super) overflow: OverflowTable,
}

impl Default for QueuesTable {
    fn default() -> QueuesTable {
        QueuesTable {
            realtime_capacity: 16_384,
            transactional_capacity: 65_536,
            batch_capacity: 65_536,
            overflow: OverflowTable::default(),
        }
    }
}

/// `[pool]`. The names of the slot keys are the payload bytes of [`crate::limits::SLOT_PAYLOAD_BYTES`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PoolTable {
    #[garde(inner(custom(check::within(1, check::SLOTS_MAX, "slots"))))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slots_64: Option<u32>,
    #[garde(inner(custom(check::within(1, check::SLOTS_MAX, "slots"))))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slots_192: Option<u32>,
    #[garde(inner(custom(check::within(1, check::SLOTS_MAX, "slots"))))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slots_1984: Option<u32>,
    #[garde(inner(custom(check::within(1, check::SLOTS_MAX, "slots"))))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slots_65536: Option<u32>,
    #[garde(skip)]
    pub(super) hugepages: HugeWish,
    #[garde(skip)]
    pub(super) lock_memory: bool,
}

/// `[threads]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ThreadsTable {
    #[garde(skip)]
    pub(super) mode: ThreadingWish,
    #[garde(skip)]
    pub(super) idle: IdleWish,
    #[garde(custom(check::cpus))]
    pub(super) cpus: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(1, 99, "a SCHED_FIFO priority"))))]
    pub(super) fifo_priority: Option<u32>,
    #[garde(custom(check::within(1, check::SHARDS_MAX, "shards")))]
    pub(super) shards: u32,
    #[garde(custom(check::within(1, check::BURST_MAX, "frames")))]
    pub(super) burst: u32,
}

impl Default for ThreadsTable {
    fn default() -> ThreadsTable {
        ThreadsTable {
            mode: ThreadingWish::default(),
            idle: IdleWish::default(),
            cpus: Vec::new(),
            fifo_priority: None,
            shards: 1,
            burst: check::BURST_MAX,
        }
    }
}

/// `[report]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReportTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::path)))]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::path)))]
    pub(super) plot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::path)))]
    pub(super) control: Option<String>,
    #[garde(custom(check::within(0, 3_600, "seconds (0 is never)")))]
    pub(super) status_interval_s: u32,
}

impl Default for ReportTable {
    fn default() -> ReportTable {
        ReportTable { path: None, plot: None, control: None, status_interval_s: 10 }
    }
}

/// `[run]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RunTable {
    #[garde(custom(check::within(1, 3_600, "seconds")))]
    pub(super) drain_deadline_s: u32,
}

impl Default for RunTable {
    fn default() -> RunTable {
        RunTable { drain_deadline_s: 10 }
    }
}

fn ring_entries() -> u32 {
    16_384
}

fn yes() -> bool {
    true
}

/// An address and port in a file: `"224.0.31.64:14340"` or `"[ff0e::1]:14340"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Endpoint(pub(super) SocketAddr);

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct EndpointVisitor;

impl de::Visitor<'_> for EndpointVisitor {
    type Value = Endpoint;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address and port such as \"224.0.31.64:14340\" or \"[ff0e::1]:14340\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Endpoint, E> {
        text.parse().map(Endpoint).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Endpoint, D::Error> {
        deserializer.deserialize_str(EndpointVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::super::letters_file::DeadLetters;
    use super::*;

    const DOCUMENTED: &str = include_str!("../../config/appliance.toml");

    #[test]
    fn the_documented_values_are_the_defaults() {
        let documented: ConfigFile = toml::from_str(DOCUMENTED).expect("parses");
        let interface = InterfaceTable { ..toml::from_str("name = 'eth1'").expect("parses") };
        assert_eq!(documented.interface, [interface]);
        let listen = "name = 'ingest'\nsource = 'tcp'\naddress = '127.0.0.1:9000'\nprotocol = 'native'\n";
        let mut listen: ListenTable = toml::from_str(listen).expect("parses");
        listen.complete();
        assert_eq!(documented.listen, [listen]);
        let tables = ConfigFile { interface: Vec::new(), feed: Vec::new(), listen: Vec::new(), ..documented };
        assert_eq!(tables, ConfigFile::default());
    }

    /// The documentation with the optional keys switched on.
    fn all_keys() -> ConfigFile {
        let all = DOCUMENTED
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key)
                    if key.starts_with('[')
                        || (key.contains(" = ") && !key.contains("  ") && key.len() < 50) =>
                {
                    key
                }
                _ => line,
            })
            .collect::<Vec<_>>()
            .join("\n");
        toml::from_str(&all).expect("the commented keys are right too")
    }

    #[test]
    fn commented_values_are_the_defaults_too() {
        let documented = all_keys();
        let unix = "name = 'ingest'\nsource = 'unix'\nprotocol = 'native'\n";
        let mut unix: ListenTable = toml::from_str(unix).expect("parses");
        unix.complete();
        assert_eq!((&documented.listen[0].path, documented.listen[0].mode), (&unix.path, unix.mode));
        let recovery = "protocol = 'moldudp64'\nservers = ['192.0.2.20:26500']\n";
        let mut recovery: RecoveryTable = toml::from_str(recovery).expect("parses");
        recovery.complete();
        let shown = documented.feed[0].recovery.clone().expect("is shown");
        let RecoveryTable { local, username, password, password_file, .. } = shown.clone();
        let shard = Some(0);
        assert_eq!(shown, RecoveryTable { local, shard, username, password, password_file, ..recovery });
        let connect =
            "name = 'itch-by-tcp'\nservers = ['192.0.2.10:26400']\nprotocol = 'soupbintcp-itch50'\n";
        let connect: ConnectTable = toml::from_str(connect).expect("parses");
        let shown = &documented.connect[0];
        let (username, password) = (shown.username.clone(), shown.password.clone());
        let password_file = shown.password_file.clone();
        assert_eq!(*shown, ConnectTable { username, password, password_file, ..connect });
    }

    #[test]
    fn every_key_is_documented() {
        // A canonical text has every key there is that is set.
        let file = all_keys();
        assert_eq!(file.threads.fifo_priority, Some(50));
        assert_eq!(file.classes.len(), 2);
        assert!(file.rules.file.is_some());
        assert!(file.report.path.is_some() && file.report.plot.is_some());
        assert!(DeadLetters::from(&file.dead_letters).file.is_some());
        assert!(file.pool.slots_64.is_some() && file.pool.slots_65536.is_some());
        assert!(file.listen[0].groups.is_some() && file.listen[0].receive_buffer_bytes.is_some());
        assert!(file.feed[0].recovery.as_ref().is_some_and(|recovery| recovery.local.is_some()));
        assert!(toml::to_string(&file).expect("writes").contains("max_latency_us"));
        assert!(file.network.sqpoll_cpu.is_some() && file.network.producers_file.is_some());
        let canonical = toml::to_string(&file).expect("writes");
        let keys = canonical.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key);
        let mut count = 0;
        for key in keys {
            let documented = DOCUMENTED.contains(&format!("{key} = "));
            assert!(documented, "{key} is not in config/appliance.toml");
            count += 1;
        }
        assert!(count > 60, "only {count} keys were checked");
    }
}
