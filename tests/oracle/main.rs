//! The product against its oracle: for every capture, `sluice decode` and `sluice replay` give exactly the counts
//! that independent decoders gave, and the books balance.

mod flows;
mod made_up;
#[path = "../common/program.rs"]
mod program;
mod real;
mod replay;
mod restarts;
