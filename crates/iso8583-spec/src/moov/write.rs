//! From a dialect to the JSON of today.

use iso8583_codec::model::Dialect;

use crate::error::Problem;
use crate::rules::Rules;
use crate::switches::Switches;

pub(crate) fn export(
    _dialect: &Dialect,
    _rules: &Rules,
    _switches: &Switches,
    _lenient: bool,
) -> Result<(String, Vec<Problem>), Problem> {
    Err(Problem::new("not yet"))
}
