//! Every limit of the appliance, in one place, with where its number came from.
//!
//! Invariant: limits that depend on each other are checked against each other at compile time.

/// Bytes of a cache line; slots, headers and ring indexes are aligned to it.
pub const CACHE_LINE_BYTES: usize = 64;

/// Largest payload of an event: 64 KiB, the largest UDP payload fits.
pub const PAYLOAD_BYTES_MAX: usize = 65_536;

/// Payload capacities of the pool's slot classes, smallest first. A slot is a 64-byte header and its payload:
/// 128 B holds every message of ITCH, TOPS and MACH, 256 B a CME message, 2 KiB a whole packet.
pub const SLOT_PAYLOAD_BYTES: [usize; 4] = [64, 192, 1_984, PAYLOAD_BYTES_MAX];

/// Shards (threads with lanes) in one process: the owner of a ticket is a `u8`.
pub const SHARDS_MAX: usize = 64;

/// Lanes (NIC queues) per shard: one source polled in turn each.
pub const LANES_PER_SHARD_MAX: usize = 16;

/// Lines (copies of a stream) that are told apart per stream; further ones are refused by name.
pub const LINES_MAX: usize = 4;

/// The line that a recovery's answers are counted as, behind the venue's.
pub const RECOVERY_LINE: u8 = LINES_MAX as u8;

/// Places for lines in a stream's books: the venue's and the recovery's.
pub const LINE_PLACES: usize = LINES_MAX + 1;

/// Streams that one shard can track; the table is allocated at boot.
pub const STREAMS_MAX: usize = 16_384;

/// Distinct message types counted per stream; further ones are counted together as `unlisted`.
pub const MESSAGE_TYPES_MAX: usize = 64;

/// Sequence numbers behind the newest one that a stream remembers, to tell a late copy from a duplicate.
/// 4,096 is 17 ms at the 236,000 packets per second of the CME capture's peak.
pub const SEQUENCE_WINDOW: u64 = 4_096;

/// The most that a feed can be configured to remember: a second at 65,536 messages a second.
pub const SEQUENCE_WINDOW_MAX: u64 = 65_536;

/// Streams of one feed that get a window of the feed's own size; further ones have the usual one.
pub const WIDE_STREAMS_MAX: usize = 64;

/// Open gaps in one shard, over all streams (64 bytes each). A window of 4,096 numbers can hold 2,048 of them.
pub const GAPS_MAX: usize = 65_536;

/// Events of one shard that wait for a gap in front of them to be closed.
pub const HELD_MAX: usize = 16_384;

/// Streams of one shard that can hold events back at a time.
pub const HOLDING_STREAMS_MAX: usize = 256;

/// Bytes that these may take together: fewer streams hold wider windows.
pub const HOLDING_BYTES_MAX: usize = 64 << 20;

/// Notices of one run that are kept for listings; further ones are counted: 64 MiB.
pub const NOTICES_KEPT_MAX: usize = 1_000_000;

/// Notices (gaps, epochs, silent lines) of one shard that wait to be taken by a thread off the hot path.
pub const NOTICES_MAX: usize = 65_536;

/// What the control plane tells (levels, stalls, the kill switch), kept for the report; further ones are counted.
pub const CONTROL_EVENTS_KEPT_MAX: usize = 16_384;

/// What the control plane tells that waits to be taken by the main thread; further ones are counted.
pub const CONTROL_EVENTS_MAX: usize = 4_096;

/// Transitions of the kill switch that are kept; further ones are counted.
pub const KILL_RECORDS_MAX: usize = 1_024;

/// Largest sequence number that is believed; larger ones are refused as damaged. It is the largest that IEX-TP's
/// signed field can carry, and leaves room to count on from.
pub const SEQUENCE_NUMBER_MAX: u64 = i64::MAX as u64;

/// Streams with two lines or more whose lateness is measured (some 150 KiB each, allocated at boot).
pub const LATENESS_STREAMS: usize = 32;

/// Destinations (address and port) that one shard tells apart.
pub const ENDPOINTS_MAX: usize = 16_384;

/// Directions of TCP flows that are told apart in a capture, ended ones that are remembered included: 20 MiB of table.
pub const FLOWS_MAX: usize = 65_536;

/// Directions of TCP flows that may hold bytes behind a gap at a time: with the next number, 64 MiB.
pub const FLOWS_HOLDING_MAX: usize = 256;

/// Bytes that one of them may hold: 2 ms at 1 Gb/s, the distance of a retransmission inside a data centre.
pub const FLOW_HOLD_BYTES_MAX: usize = 256 * 1_024;

/// Runs of bytes, with gaps between them, that one of them may hold.
pub const FLOW_RUNS_MAX: usize = 64;

/// Directions of a capture's TCP flows that are decoded at a time: with the next number, 64 MiB of address space, of which
/// a flow touches what its unfinished units need.
pub const FLOW_CONNECTIONS_MAX: usize = 1_024;

/// Bytes of a unit of theirs: what is larger fits no slot.
pub const FLOW_UNIT_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;

/// Directions of flows that a report tells of one by one; further ones are in the sums only.
pub const FLOWS_TOLD_MAX: usize = 1_024;

/// Connections that a replay keeps open at a time, the commonest limit of a process' files.
pub const REPLAY_CONNECTIONS_MAX: usize = 1_024;

/// Places in the priority queues unless configured otherwise, indexed by [`crate::event::Class`]: realtime per shard,
/// transactional and batch per producer. 65,536 is 280 ms at the CME capture's peak; a realtime event that waits
/// behind 16,384 others is late already.
pub const QUEUE_CAPACITY: [u32; 3] = [16_384, 65_536, 65_536];

/// Events staged for one worker before they are pushed; a burst that makes more of them is pushed in parts.
pub const STAGED_MAX: usize = 4_096;

/// Places of the ring from a shard to a worker, at most: some batches of it. What waits there can't be taken back when room
/// has to be made.
pub const HANDED_OVER_MAX: usize = 1_024;

/// Copies of realtime events that wait for the batch processor's windows: 512 bytes each.
pub const TAPPED_MAX: usize = 16_384;

/// Patterns of topics that can be given a class. Prefixes are tried one by one, for native frames only.
pub const TOPICS_MAX: usize = 1_024;

/// Workers of one class, each with a thread of its own where there are CPUs enough.
pub const WORKERS_MAX: usize = 16;

/// Frames polled from one lane in one turn: 64 frames of 1,500 B stay inside an L2 cache.
pub const BURST_MAX: usize = 64;

/// Events of one producer's acknowledged session that may be under way to processors at once: 1,024 at 100 µs there and
/// back are 10 million a second.
pub const PRODUCER_WINDOW: u64 = 1_024;

/// Bytes of the ring that an agent's dead letters leave it by: the usual burst of 10,000 letters of up to 120 bytes of payload
/// fits, before anybody has looked.
pub const LETTER_RING_BYTES: usize = 2 << 20;

/// Bytes that the dead letters that are kept in memory may take, however many they may be.
pub const LETTERS_KEPT_BYTES_MAX: usize = 64 << 20;
/// Window definitions of the batch processor: which of them an event belongs to is looked up one by one.
pub const WINDOW_DEFINITIONS_MAX: usize = 16;

/// Keys (topics or symbols) that one definition can be configured to tell apart at a time; the default is 4,096, half of
/// the symbols of the US stock market's feeds.
pub const WINDOW_KEYS_MAX: usize = 65_536;

/// Panes that one key of a definition may have: a minute that slides by 100 ms has 612.
pub const WINDOW_PANES_MAX: usize = 1_024;

/// Bytes that the panes of one definition may take; they are set aside at boot, and touched by keys that come.
pub const WINDOW_BYTES_MAX: usize = 1 << 30;

/// Bytes of a pane, its sketch aside.
pub const WINDOW_PANE_BYTES: usize = 192;

/// Buckets of a quantile sketch, 8 bytes each: prices of a window stay within 0.01 %, values over three powers of ten
/// within 2.6 %.
pub const SKETCH_BUCKETS: usize = 256;

/// Quantiles of one definition.
pub const QUANTILES_MAX: usize = 4;

/// Bytes of a topic's name that a closed window carries.
pub const WINDOW_TOPIC_BYTES: usize = 64;

/// Closed windows that wait to be taken by a thread off the hot path: all keys of four full definitions, 8 MiB.
pub const WINDOWS_CLOSED_MAX: usize = 16_384;

/// VLAN tags that are stripped (802.1Q, 802.1ad).
pub const VLAN_TAGS_MAX: usize = 2;

/// Rules of one set: the index of a rule by message type, symbol and topic makes most of them cost nothing.
pub const RULES_MAX: usize = 4_096;

/// Predicates of one rule.
pub const RULE_PREDICATES_MAX: usize = 16;

/// Message types that one rule can list.
pub const RULE_TYPES_MAX: usize = 64;

/// Symbols that one rule can list: more than an index has.
pub const RULE_SYMBOLS_MAX: usize = 4_096;

/// Symbols of all rules together: some 16 MiB of index.
pub const RULE_SYMBOLS_IN_ALL_MAX: usize = 262_144;

/// Actions of one rule.
pub const RULE_ACTIONS_MAX: usize = 8;

/// Bytes of a text in a rule: names, patterns, values. A URL may have eight times as many.
pub const RULE_TEXT_BYTES_MAX: usize = 256;

/// Times that one key of a rule's window remembers, which is the highest threshold.
pub const RULE_WINDOW_COUNT_MAX: u32 = 4_096;

/// Keys (instruments, topics or streams) that one rule can follow at a time.
pub const RULE_KEYS_MAX: u32 = 65_536;

/// Keys that a rule follows unless configured otherwise.
pub const RULE_KEYS: u32 = 4_096;

/// Bytes of the keys, windows and last values of all rules together. While a set is replaced, both are there.
pub const RULE_STATE_BYTES_MAX: u64 = 1 << 30;

/// Bytes of a rules file: 4,096 rules of 2 KiB.
pub const RULES_FILE_BYTES_MAX: u64 = 8 << 20;

/// How far the time of a rule's key may go back before it is taken for another run of its source: copies of two lines
/// differ by less, loops of a capture by more.
pub const RULE_REWIND_NS: u64 = 60_000_000_000;

/// Alerts of one processor that wait to be taken by a thread off the hot path: some 5 MiB.
pub const ALERTS_MAX: usize = 16_384;

/// Sets of rules that wait for a processor to take them, and old ones that wait to be freed.
pub const RULE_SETS_WAITING_MAX: usize = 4;

/// Lines that alerts may write to the log in a second.
pub const ALERT_LINES_PER_S: u32 = 100;

/// Webhooks that wait to be sent.
pub const WEBHOOKS_WAITING_MAX: usize = 1_024;

const _: () = assert!(SLOT_PAYLOAD_BYTES[SLOT_PAYLOAD_BYTES.len() - 1] == PAYLOAD_BYTES_MAX);
const _: () = assert!(SEQUENCE_WINDOW.is_power_of_two());
const _: () = assert!(SHARDS_MAX <= 256);
// A byte per number has a bit per line, and two for what is lost or blank.
const _: () = assert!(LINE_PLACES <= 6);
const _: () = assert!(SEQUENCE_WINDOW_MAX.is_power_of_two() && SEQUENCE_WINDOW_MAX >= SEQUENCE_WINDOW);
