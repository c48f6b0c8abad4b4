//! Identities as newtypes, so that a lane can't be passed where a stream is meant. All count from 0.

/// Index of a shard: the thread that owns lanes and an event pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u8);

/// Index of a stream in its shard's stream table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamIndex(pub u32);

/// Index of a line (a copy of a stream): 0 is line A, 1 is line B.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineIndex(pub u8);

/// Index of a connection among those of its shard; used again when the connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionIndex(pub u32);

/// Index of an inlet of a shard: a listener, a connector or a socket for datagrams, with limits and a stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InletIndex(pub u16);
