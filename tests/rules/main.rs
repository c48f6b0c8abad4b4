//! Alert rules: on real captures and on random events their alerts are those of a simple reference, evaluating allocates
//! nothing, and a set is replaced between two events and never within one.

mod captures;
mod live;
mod random;
mod reference;
mod states;

#[global_allocator]
static ALLOCATOR: sluice::os::CountingAllocator = sluice::os::CountingAllocator;
