//! Blocks of memory that are used again.

/// How many are kept.
const MAX: usize = 1024;

/// Blocks of one kind that nobody needs now. What was in them is put out of them first where it holds other memory.
pub(super) struct Spare<T>(Vec<Box<T>>);

impl<T> Spare<T> {
    pub(super) fn new() -> Spare<T> {
        Spare(Vec::new())
    }

    /// A block with what was in it last, but for what was put out of it; one that `make` fills where none is kept. To be filled in its
    /// place: a large thing that is made elsewhere is copied.
    pub(super) fn block(&mut self, make: impl FnOnce() -> T) -> Box<T> {
        self.0.pop().unwrap_or_else(|| Box::new(make()))
    }

    pub(super) fn keep(&mut self, block: Box<T>) {
        if self.0.len() < MAX {
            self.0.push(block);
        }
    }
}
