//! Configured names, kept once per process.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{OnceLock, RwLock};

use foldhash::fast::RandomState;

/// A configured name (realm, issuer link), kept once per process: there are few, and every record carries some. A number, so
/// that it is small and quickly compared; it means nothing in another process and is never stored.
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct Name(NonZeroU32);

/// Texts by number: those from `1 << i` up to twice that in chunk `i`. A chunk is made when its first name comes and stays where it
/// is, so that reading a text takes no lock.
static TEXTS: [OnceLock<Box<[Text]>>; 32] = [const { OnceLock::new() }; 32];

type Text = OnceLock<&'static str>;

static NUMBERS: OnceLock<RwLock<HashMap<&'static str, Name, RandomState>>> = OnceLock::new();

impl Name {
    /// The name for `text`; the first use of a text keeps it for the life of the process.
    ///
    /// # Panics
    /// At the 4,294,967,296th text: memory ends long before.
    pub fn new(text: &str) -> Name {
        let numbers = NUMBERS.get_or_init(RwLock::default);
        if let Some(known) = numbers
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .get(text)
        {
            return *known;
        }
        let mut numbers = numbers
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = numbers.get(text) {
            return *known;
        }
        let count = u32::try_from(numbers.len()).ok();
        let number = count.and_then(|count| NonZeroU32::MIN.checked_add(count));
        let name = Name(number.expect("fewer names than numbers"));
        let kept: &'static str = Box::leak(text.into());
        let (chunk, place) = name.place();
        let texts = TEXTS
            .get(chunk)
            .map(|texts| texts.get_or_init(|| (0..1usize << chunk).map(|_| Text::new()).collect()));
        if let Some(text) = texts.and_then(|texts| texts.get(place)) {
            text.get_or_init(|| kept);
        }
        numbers.insert(kept, name);
        name
    }

    /// The text.
    pub fn as_str(self) -> &'static str {
        let (chunk, place) = self.place();
        let texts = TEXTS.get(chunk).and_then(OnceLock::get);
        let text = texts.and_then(|texts| texts.get(place)?.get());
        text.copied().unwrap_or_default()
    }

    /// Chunk of its text, and place in it.
    fn place(self) -> (usize, usize) {
        let bits = self.0.ilog2();
        (bits as usize, (self.0.get() ^ 1 << bits) as usize)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_name_and_a_name_its_text_on_every_thread() {
        let texts = || (0..500).map(|number| format!("name-{number}"));
        let make = || texts().map(|text| Name::new(&text)).collect::<Vec<_>>();
        let all: Vec<Vec<Name>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let names = all.first().unwrap();
        assert!(all.iter().all(|others| others == names));
        for (text, name) in texts().zip(names) {
            assert_eq!(name.as_str(), text);
            assert_eq!(*name, Name::new(&text));
        }
        assert_eq!(Name::new("").as_str(), "");
        assert_ne!(Name::new(""), Name::new("name-1"));
    }
}
