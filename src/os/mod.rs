//! To be written.

pub mod packet;
