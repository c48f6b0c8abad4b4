//! An allocator that counts, so that "no allocation after boot" is a number in the report and not a hope.
//! Invariant: counting allocates nothing and takes no lock.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Constant and without a destructor: reading it never allocates, also while a thread begins or ends.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator with a count per thread. A binary installs it by `#[global_allocator]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

#[inline]
fn count() {
    ALLOCATIONS.with(|count| count.set(count.get().wrapping_add(1)));
}

// SAFETY: every call goes to `System`, which keeps the contract of GlobalAlloc; the counter touches no memory of it.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`, and `pointer` came from `System`.
        unsafe { System.realloc(pointer, layout, new_bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Allocations (and reallocations) of the calling thread since it began. It stays 0 in a program that didn't install
/// the allocator: see [`allocations_are_counted`].
#[inline]
pub fn allocations_of_this_thread() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Whether this program counts allocations at all, found out by making one.
pub fn allocations_are_counted() -> bool {
    let before = allocations_of_this_thread();
    drop(std::hint::black_box(Box::new(0u8)));
    allocations_of_this_thread() != before
}

/// Installed for all unit tests of the library, so that each may count.
#[cfg(test)]
#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_allocation_is_counted_once_and_on_its_own_thread() {
        assert!(allocations_are_counted());
        let before = allocations_of_this_thread();
        let mut list: Vec<u8> = std::hint::black_box(Vec::with_capacity(10));
        assert_eq!(allocations_of_this_thread() - before, 1);
        list.reserve_exact(1_000);
        assert_eq!(allocations_of_this_thread() - before, 2);
        let zeroed = std::hint::black_box(vec![0u64; 100]);
        assert_eq!(allocations_of_this_thread() - before, 3);
        drop((list, zeroed));
        assert_eq!(allocations_of_this_thread() - before, 3, "freeing is not counted");

        let handle = std::thread::spawn(|| {
            let before = allocations_of_this_thread();
            (0..500u64).for_each(|number| drop(std::hint::black_box(Box::new(number))));
            allocations_of_this_thread() - before
        });
        let here = allocations_of_this_thread();
        let there = handle.join().expect("no panic");
        assert_eq!(there, 500);
        assert!(allocations_of_this_thread() - here < 100, "another thread's are not counted here");
    }
}
