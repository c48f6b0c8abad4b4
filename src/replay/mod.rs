//! Replay: captures as a source of frames, and made-up ones for machines that have no captures.

pub mod synthetic;
