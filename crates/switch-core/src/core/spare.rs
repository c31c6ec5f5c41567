//! Blocks of memory that are used again.

/// How many are kept.
const MAX: usize = 1024;

/// Blocks of one kind that nobody needs now. What was in them is put out of them first where it holds other memory.
pub(super) struct Spare<T>(Vec<Box<T>>);

impl<T> Spare<T> {
    pub(super) fn new() -> Spare<T> {
        Spare(Vec::new())
    }

    /// A thing in a block of its own.
    pub(super) fn boxed(&mut self, thing: T) -> Box<T> {
        match self.0.pop() {
            Some(mut block) => {
                *block = thing;
                block
            }
            None => Box::new(thing),
        }
    }

    pub(super) fn keep(&mut self, block: Box<T>) {
        if self.0.len() < MAX {
            self.0.push(block);
        }
    }
}
