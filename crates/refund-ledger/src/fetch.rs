//! Memory that is needed soon, asked for ahead: the processor fetches what several things need at once, and not one piece after the
//! other as they are looked at.
//!
//! Plain reads would not do: whatever takes a lock waits for the reads before it, and a read that is not there yet holds up what
//! follows as soon as something depends on it.
#![allow(
    unsafe_code,
    reason = "there is no safe way yet to say that memory is needed soon; it reads nothing, and no address is wrong for it"
)]

/// Bytes that memory comes in.
pub(crate) const LINE: usize = 64;

/// Asks for all of a value, which is read or written soon. Reads nothing: it costs an instruction for each 64 bytes and one more, and asks for
/// what is at hand already in vain.
#[inline]
pub fn fetch<T: ?Sized>(value: &T) {
    let begin = std::ptr::from_ref(value).cast::<u8>();
    let bytes = size_of_val(value);
    for offset in (0..bytes).step_by(LINE) {
        fetch_line(begin.wrapping_add(offset));
    }
    // What does not begin where a line does ends in one more.
    fetch_line(begin.wrapping_add(bytes.saturating_sub(1)));
}

/// Asks for the memory at an address, whatever is there.
#[inline]
pub(crate) fn fetch_line(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it is a hint, which reads nothing and fails nowhere.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
