//! What a file of another system has no words for.

use crate::error::Problem;

/// What could not be said, or not quite, while a file is written.
pub(crate) struct Unsaid {
    pub(crate) problems: Vec<Problem>,
    lenient: bool,
}

impl Unsaid {
    pub(crate) fn new(lenient: bool) -> Self {
        Self {
            problems: Vec::new(),
            lenient,
        }
    }

    /// Something is left out: an error, unless the writer is lenient.
    pub(crate) fn cannot(&mut self, problem: Problem) -> Result<(), Problem> {
        if !self.lenient {
            return Err(problem);
        }
        self.problems.push(problem);
        Ok(())
    }

    /// Something of this field is said that comes near.
    pub(crate) fn nearly(&mut self, path: &str, what: &str) {
        self.problems.push(Problem::new(what).field(path));
    }
}
