//! The choices that a config file offers, as enums: what is wished for, not what the machine then gives.
//!
//! Invariant: every variant is written in TOML exactly as its documentation in config/appliance.toml says.

use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// How a shard and the kernel share the work of receiving (`drive`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriveMode {
    /// The kernel's NAPI runs on the interrupt's core, the shard polls the RX ring: no system call in copy mode.
    #[default]
    Interrupt,
    /// The shard runs NAPI itself, one system call per turn (SO_PREFER_BUSY_POLL).
    BusyPoll,
    /// A kernel thread per queue runs NAPI (the interface's `threaded` setting).
    NapiThread,
}

/// Where the XDP program is attached (`attach`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachWish {
    /// In the driver if it can, else generic.
    #[default]
    Auto,
    /// In the driver, or start-up fails.
    Native,
    /// In the stack, behind the driver: works everywhere, slowest.
    Generic,
}

/// Whether the NIC writes into the UMEM itself (`zero_copy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZeroCopyWish {
    /// Zero-copy if the driver has it, else copy mode.
    #[default]
    Auto,
    /// Zero-copy, or start-up fails.
    Require,
    /// Copy mode.
    Never,
}

/// What pages carry pools (`hugepages` of `[pool]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HugeWish {
    /// 2 MiB pages.
    #[default]
    #[serde(rename = "2MiB")]
    TwoMiB,
    /// 1 GiB pages.
    #[serde(rename = "1GiB")]
    OneGiB,
    /// Ordinary pages.
    #[serde(rename = "never")]
    Never,
}

/// How agents are laid on threads (`mode` of `[threads]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThreadingWish {
    /// Dedicated where there are cores enough, else shared.
    #[default]
    Auto,
    /// A thread, and a core, for each agent.
    Dedicated,
    /// Several agents on one thread.
    Shared,
}

/// What an agent does in a turn that found no work (`idle`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdleWish {
    /// Goes on at once.
    BusySpin,
    /// Offers the core to other threads.
    Yield,
    /// Spins, then yields, then sleeps.
    #[default]
    Backoff,
}

/// Who submits and completes io_uring's requests (`mode` of `[network]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UringMode {
    /// The shard, with at most one system call a turn.
    #[default]
    DeferTaskrun,
    /// A kernel thread that polls: no system call on the shard, and a core for that thread.
    Sqpoll,
}

/// Which receive queues of an interface are taken (`queues`): `"all"` or a list of numbers from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum QueuesWish {
    /// Every queue that the interface has at start.
    #[default]
    All,
    /// These queues.
    List(Vec<u32>),
}

impl Serialize for QueuesWish {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            QueuesWish::All => serializer.serialize_str("all"),
            QueuesWish::List(list) => list.serialize(serializer),
        }
    }
}

struct QueuesVisitor;

impl<'de> Visitor<'de> for QueuesVisitor {
    type Value = QueuesWish;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"all\" or a list of queue numbers such as [0, 1]")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<QueuesWish, E> {
        match text {
            "all" => Ok(QueuesWish::All),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<QueuesWish, A::Error> {
        let mut list = Vec::new();
        while let Some(queue) = items.next_element()? {
            list.push(queue);
        }
        Ok(QueuesWish::List(list))
    }
}

impl<'de> Deserialize<'de> for QueuesWish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<QueuesWish, D::Error> {
        deserializer.deserialize_any(QueuesVisitor)
    }
}

/// The name that a fieldless wish has in TOML.
macro_rules! display_as_in_toml {
    ($($name:ty),*) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // serde's own Display serializer writes the name of a unit variant.
                self.serialize(f)
            }
        }
    )* };
}

display_as_in_toml!(DriveMode, AttachWish, ZeroCopyWish, HugeWish, ThreadingWish, IdleWish, UringMode);

impl fmt::Display for QueuesWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueuesWish::All => f.write_str("all"),
            QueuesWish::List(list) => write!(f, "{list:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_print_as_they_are_written() {
        assert_eq!(DriveMode::NapiThread.to_string(), "napi-thread");
        assert_eq!(UringMode::DeferTaskrun.to_string(), "defer-taskrun");
        assert_eq!(HugeWish::TwoMiB.to_string(), "2MiB");
        assert_eq!(QueuesWish::List(vec![0, 3]).to_string(), "[0, 3]");
    }
}
