//! What is sent how often.

use std::fmt;
use std::str::FromStr;

use fastrand::Rng;

/// What a terminal does.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Deed {
    /// A purchase.
    Purchase,
    /// A refund of a part of a purchase, or of what is left of it.
    Refund,
    /// A refund of more than is left: it must be refused.
    Excess,
    /// A void of a purchase.
    Void,
    /// A reversal (`0400`) of a purchase.
    Reversal,
    /// The last message once more: its answer must be the same, byte by byte.
    Repeat,
}

impl Deed {
    /// All of them.
    pub const ALL: [Deed; 6] = [
        Deed::Purchase,
        Deed::Refund,
        Deed::Excess,
        Deed::Void,
        Deed::Reversal,
        Deed::Repeat,
    ];

    /// As a mix names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Deed::Purchase => "purchase",
            Deed::Refund => "refund",
            Deed::Excess => "excess",
            Deed::Void => "void",
            Deed::Reversal => "reversal",
            Deed::Repeat => "repeat",
        }
    }
}

/// How often what is done, as weights: `purchase=60,refund=30,reversal=10`.
///
/// What cannot be done yet, as a refund before any purchase, is a purchase instead.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Mix {
    weights: [u32; Deed::ALL.len()],
}

/// Weights of all deeds together.
const WEIGHTS_MAX: u32 = 1_000_000;

impl Default for Mix {
    fn default() -> Mix {
        Mix {
            weights: [60, 30, 0, 0, 10, 0],
        }
    }
}

impl Mix {
    /// Whether something is done at all.
    #[must_use]
    pub fn has(&self, deed: Deed) -> bool {
        self.weights
            .get(deed as usize)
            .is_some_and(|weight| *weight > 0)
    }

    /// One deed by chance.
    pub(crate) fn draw(&self, random: &mut Rng) -> Deed {
        let mut at = random.u32(..self.weights.iter().sum::<u32>().max(1));
        for (deed, weight) in Deed::ALL.into_iter().zip(self.weights) {
            match at.checked_sub(weight) {
                Some(rest) => at = rest,
                None => return deed,
            }
        }
        Deed::Purchase
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        let mut weights = [None; Deed::ALL.len()];
        for part in text.split(',') {
            let (name, weight) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is not like purchase=60"))?;
            let deed = Deed::ALL
                .into_iter()
                .find(|deed| deed.name() == name.trim());
            let deed = deed.ok_or_else(|| {
                let names = Deed::ALL.map(Deed::name).join(", ");
                format!("unknown kind {:?}; expected one of {names}", name.trim())
            })?;
            let weight: u32 = weight
                .trim()
                .parse()
                .map_err(|_| format!("the weight of {} is not a whole number", deed.name()))?;
            let place = weights.get_mut(deed as usize);
            if place.is_some_and(|place| place.replace(weight).is_some()) {
                return Err(format!("{} is there twice", deed.name()));
            }
        }
        let weights = weights.map(Option::unwrap_or_default);
        let sum = weights
            .iter()
            .try_fold(0_u32, |sum, weight| sum.checked_add(*weight));
        match sum {
            Some(1..=WEIGHTS_MAX) => Ok(Mix { weights }),
            _ => Err(format!("the weights must sum up to 1 to {WEIGHTS_MAX}")),
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (deed, weight) in Deed::ALL.into_iter().zip(self.weights) {
            if weight > 0 {
                write!(f, "{separator}{}={weight}", deed.name())?;
                separator = ",";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_are_read_and_shown() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let read = text.parse::<Mix>().map(|mix| mix.to_string());
            match expected {
                Ok(shown) => assert_eq!(read.as_deref(), Ok(shown), "{text}"),
                Err(part) => {
                    let error = read.unwrap_err();
                    assert!(error.contains(part), "{text}: {error}");
                }
            }
        };
        check("refund=30, purchase=60", Ok("purchase=60,refund=30"));
        check("repeat=1,void=0", Ok("repeat=1"));
        check(
            &Mix::default().to_string(),
            Ok("purchase=60,refund=30,reversal=10"),
        );
        check("purchase", Err("purchase=60"));
        check("sale=3", Err("expected one of purchase, refund"));
        check("purchase=many", Err("whole number"));
        check("purchase=1,purchase=2", Err("twice"));
        check("purchase=0", Err("sum up"));
        check("purchase=4294967295,refund=1", Err("sum up"));
    }

    #[test]
    fn deeds_come_as_often_as_they_weigh() {
        let mix: Mix = "purchase=1,void=3".parse().unwrap();
        let mut random = Rng::with_seed(7);
        let mut counts = [0_u32; 6];
        for _ in 0..40_000 {
            counts[mix.draw(&mut random) as usize] += 1;
        }
        assert_eq!(counts.iter().filter(|count| **count > 0).count(), 2);
        assert!(
            (9_500..10_500).contains(&counts[Deed::Purchase as usize]),
            "{counts:?}"
        );
    }
}
