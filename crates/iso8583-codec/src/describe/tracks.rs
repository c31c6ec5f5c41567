//! Track data and card numbers in groups, wherever they stand in a text.

use std::ops::Range;

use super::is_card_number;

/// Digits of a card number.
const NUMBER_MIN: usize = 13;
const NUMBER_MAX: usize = 19;

/// Groups that a card number is written in at most, behind the first.
const GROUPS_MAX: usize = 5;

/// Digits behind the separator of track 2 at least: expiry date and service code. Source: ISO/IEC 7813.
const TAIL_MIN: usize = 7;

/// The text with stars for track data (a number that may be one of a card, or what is left of a masked one, a separator, and what belongs
/// to it), and for the middle of a card number that is written in groups.
pub(super) fn masked(text: &str) -> String {
    let mut seen: Vec<char> = text.chars().collect();
    for at in 0..seen.len() {
        let (before, behind) = seen.split_at(at);
        let hidden = match behind {
            ['=' | 'D' | 'd', tail @ ..] => track_2(before, tail),
            ['^', tail @ ..] => track_1(before, tail),
            _ => None,
        };
        if let Some((number, tail)) = hidden {
            hide(&mut seen, middle(at.saturating_sub(number)..at));
            let from = at.saturating_add(1);
            hide(&mut seen, from..from.saturating_add(tail));
        }
    }
    for number in groups(&seen) {
        hide(&mut seen, middle(number));
    }
    seen.into_iter().collect()
}

/// Stars for digits and letters.
fn hide(text: &mut [char], range: Range<usize>) {
    let hidden = text.get_mut(range).into_iter().flatten();
    hidden
        .filter(|seen| seen.is_alphanumeric())
        .for_each(|seen| *seen = '*');
}

/// What of a number is hidden: not its first six and last four characters.
fn middle(number: Range<usize>) -> Range<usize> {
    number.start.saturating_add(6)..number.end.saturating_sub(4)
}

/// How many characters in front of a separator are a card number's, and how many behind it belong to it.
fn track_2(before: &[char], tail: &[char]) -> Option<(usize, usize)> {
    let digits = tail.iter().take_while(|seen| seen.is_ascii_digit()).count();
    let number = number(before).filter(|_| digits >= TAIL_MIN)?;
    Some((number, digits))
}

/// The same for track 1, whose name and further data go up to the end sentinel.
fn track_1(before: &[char], tail: &[char]) -> Option<(usize, usize)> {
    let number = number(before)?;
    Some((number, tail.iter().take_while(|seen| **seen != '?').count()))
}

/// How many characters at the end are a card number, or one that is masked.
fn number(before: &[char]) -> Option<usize> {
    let is_of_number = |seen: &&char| seen.is_ascii_digit() || **seen == '*';
    let run = before.iter().rev().take_while(is_of_number).count();
    let digits = |count: usize| -> Vec<u8> {
        let last = before.iter().skip(before.len().saturating_sub(count));
        last.map(|seen| u8::try_from(*seen).unwrap_or(b'*'))
            .collect()
    };
    (NUMBER_MIN..=NUMBER_MAX.min(run)).rev().find(|count| {
        let digits = digits(*count);
        digits.contains(&b'*') && *count == run || is_card_number(&digits)
    })
}

/// Where card numbers stand in groups of three to six digits, the first of four, the last perhaps of fewer, one blank or hyphen between two
/// of them, as people write them.
fn groups(text: &[char]) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut at = 0usize;
    for word in text.chunk_by(|one, next| one.is_ascii_digit() == next.is_ascii_digit()) {
        let end = at.saturating_add(word.len());
        if word.iter().all(char::is_ascii_digit) {
            words.push(at..end);
        }
        at = end;
    }
    let mut found = Vec::new();
    let mut rest = words.as_slice();
    while let Some(first) = rest.first() {
        let together = rest
            .windows(2)
            .take(GROUPS_MAX)
            .take_while(|pair| match pair {
                // One that is shorter is the last.
                [one, next] => {
                    is_joined(text.get(one.end..next.start)) && one.len() >= 3 && next.len() <= 6
                }
                _ => false,
            })
            .count();
        let numbers = rest.iter().skip(1).take(together).rev();
        let ends = numbers.map(|last| first.start..last.end);
        let number = ends.filter(|_| first.len() == 4).find(|range| {
            let digits = text.get(range.clone()).unwrap_or_default().iter();
            let digits: Vec<u8> = digits
                .filter(|seen| seen.is_ascii_digit())
                .filter_map(|seen| u8::try_from(*seen).ok())
                .collect();
            is_card_number(&digits)
        });
        found.extend(number);
        rest = rest.get(1..).unwrap_or_default();
    }
    found
}

fn is_joined(between: Option<&[char]>) -> bool {
    matches!(between, Some([' ' | '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str) {
        assert_eq!(masked(text), shown);
    }

    #[test]
    fn tracks_are_masked_wherever_they_stand() {
        check(
            "4761739001010119=29122011758928889",
            "476173******0119=*****************",
        );
        check(
            "X4761739001010119D29122011758928889.",
            "X476173******0119D*****************.",
        );
        // In a tag that nobody knows, behind digits with which it makes a longer number that may be one, too.
        check(
            "9F57114761739001010119D29122011758928889",
            "9F5711476*********0119D*****************",
        );
        // The number was masked before.
        check(
            "476173******0119=29122011758928889?",
            "476173******0119=*****************?",
        );
        check(
            "%B4761739001010119^DOE/JOHN^29122011758928889?x",
            "%B476173******0119^***/****^*****************?x",
        );
    }

    #[test]
    fn card_numbers_in_groups_are_masked() {
        check("card 4761 7390 0101 0119.", "card 4761 7*** **** 0119.");
        check("12 4761-7390-0101-0119 7", "12 4761-7***-****-0119 7");
        check("3782-822463-10005", "3782-8*****-*0005");
        check("6200 0000 0000 0000 05", "6200 0*** **** ***0 05");
    }

    /// In a time that grows as the text does.
    #[test]
    fn a_long_text_of_groups() {
        let text = "1111 ".repeat(50_000);
        assert_eq!(masked(&text).len(), text.len());
    }

    #[test]
    fn what_is_no_track_stays() {
        for text in [
            "2026-11-23 12:34:56",
            "4761739001010118=29122011758928889",
            "4761739001010119=12",
            "DEADBEEF0000000000001D1234567",
            "+31 6 1234 5678",
            "a=1 b=2 **** ^",
            "1234 5678 9012 3456",
        ] {
            check(text, text);
        }
    }
}
