//! The appliance cut down to its pool and queues, from the same source files, for tools that need everything rebuilt.
//!
//! Model checking (interleavings of small scenarios; how far each is searched stands in loom_pool.rs):
//! `RUSTFLAGS="--cfg loom" cargo test --manifest-path tests/rings/Cargo.toml --test loom_pool --target-dir target/loom`
//!
//! Thread sanitizer (real rings, real memory, a million tickets):
//! `TSAN_OPTIONS=suppressions=$PWD/tests/rings/tsan.supp RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread
//! -Cunsafe-allow-abi-mismatch=sanitizer" cargo test --manifest-path tests/rings/Cargo.toml --test pool_stress
//! --target x86_64-unknown-linux-gnu --target-dir target/tsan`
//!
//! Under `cfg(loom)` two things are models and not the product: the rings (`ring_model.rs` in place of rtrb, which
//! cannot run under loom; same interface, same orderings) and the memory (`slab_model.rs` in place of the mapped
//! region; every access is reported to loom). Tickets, free lists, `Pool`, `SlotReader`, `ReturnPort`, `Returns` and
//! both ends of the queues are the product's own code. So loom checks that a slot is never reached by two threads
//! without the rings ordering them, that no slot is lost, and that `is_closed` is never early; it does not check rtrb's
//! own code, nor the arithmetic of addresses. Those are for the thread sanitizer and the unit tests.

#[path = "../../src/event/mod.rs"]
pub mod event;
#[path = "../../src/limits.rs"]
pub mod limits;

#[cfg(not(loom))]
pub mod os;

#[cfg(not(loom))]
#[path = "../../src/pool/mod.rs"]
pub mod pool;

#[cfg(loom)]
#[path = "pool_model.rs"]
pub mod pool;

pub mod ledger;

#[path = "../../src/queue/mod.rs"]
pub mod queue;

#[cfg(loom)]
pub mod ring_model;

// The sources say `use rtrb::…`; under loom that name leads here.
#[cfg(loom)]
extern crate self as rtrb;
#[cfg(loom)]
pub use ring_model::{Consumer, Producer, RingBuffer};
