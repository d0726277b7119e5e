//! Random numbers of a thread from a seed.
//!
//! The keys of std's hash maps, the branch that tokio's `select!` tries first and the pauses of a backoff all
//! begin with `getrandom(2)`. A program that links this crate has a `getrandom` of its own (std asks for the
//! symbol weakly so that this is possible), which is the kernel's, except in threads that a test seeded.

use std::cell::RefCell;
use std::ffi::{c_uint, c_void};
use std::thread;

use portolan_api::Random;
use rustix::rand::GetRandomFlags;

thread_local! {
    static SEEDED: RefCell<Option<Random>> = const { RefCell::new(None) };
}

/// Runs `work` in a thread of its own, which has drawn no random number yet and draws all from `seed`.
pub fn seeded<T: Send>(seed: u64, work: impl FnOnce() -> T + Send) -> T {
    let seeded = || {
        SEEDED.set(Some(Random::new(seed)));
        work()
    };
    thread::scope(|scope| scope.spawn(seeded).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// As in getrandom(2), for all callers in this program.
///
/// # Safety
/// `buffer` must be writable for `length` bytes, which C asks of callers too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    if buffer.is_null() || length == 0 {
        return 0;
    }
    // SAFETY: the caller's promise; zeroed first, because what is written to need not be initialized.
    let bytes = unsafe {
        buffer.write_bytes(0, length);
        std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length)
    };
    let drawn = SEEDED.try_with(|seeded| {
        let mut seeded = seeded.try_borrow_mut().ok()?;
        let random = seeded.as_mut()?;
        bytes.fill_with(|| random.next_u64().to_le_bytes()[0]);
        Some(())
    });
    if let Ok(Some(())) = drawn {
        return bytes.len().cast_signed();
    }
    rustix::rand::getrandom(bytes, GetRandomFlags::from_bits_retain(flags)).map_or(-1, usize::cast_signed)
}
