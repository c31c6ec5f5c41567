//! Dates and times in words.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// What the digits of an element say of a date or a time.
pub(super) fn meaning(de: u8, value: &str) -> Option<String> {
    super::digits(value)?;
    let part = |range: std::ops::Range<usize>| value.get(range).unwrap_or_default();
    match (de, value.len()) {
        (7, 10) => Some(format!("{}, {} UTC", day(part(0..4))?, clock(part(4..10))?)),
        (12, 6) => Some(format!("{} local time", clock(value)?)),
        (12, 12) => Some(format!(
            "{}, {} local time",
            date(part(0..6))?,
            clock(part(6..12))?
        )),
        (12, 14) if part(0..2) == "20" => Some(format!(
            "{}, {} local time",
            date(part(2..8))?,
            clock(part(8..14))?
        )),
        (13 | 15 | 16 | 17, 4) => day(value),
        (14, 4) => Some(format!("{} 20{}", month(part(2..4))?, part(0..2))),
        (13 | 15 | 16 | 17 | 73, 6) => date(value),
        _ => None,
    }
}

/// YYMMDD.
pub(super) fn date(digits: &str) -> Option<String> {
    let (year, day_of_it) = digits.split_at_checked(2)?;
    Some(format!("{} 20{year}", day(day_of_it)?))
}

/// hhmmss.
pub(super) fn clock(digits: &str) -> Option<String> {
    let (hour, rest) = digits.split_at_checked(2)?;
    let (minute, second) = rest.split_at_checked(2)?;
    let below = |digits: &str, limit: u32| digits.parse::<u32>().is_ok_and(|number| number < limit);
    (below(hour, 24) && below(minute, 60) && below(second, 60))
        .then(|| format!("{hour}:{minute}:{second}"))
}

/// MMDD.
fn day(digits: &str) -> Option<String> {
    let (month_of_it, day) = digits.split_at_checked(2)?;
    let day: u32 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    Some(format!("{day} {}", month(month_of_it)?))
}

fn month(digits: &str) -> Option<&'static str> {
    let number: usize = digits.parse().ok()?;
    MONTHS.get(number.checked_sub(1)?).copied()
}
