//! Delays between attempts: policies of workflows, and our own while a service fails.

use super::time::DAY;
use super::workflow::model::Backoff;

/// The first delay after an outage-like failure under a closed breaker, in milliseconds.
const OUTAGE_FIRST: i64 = 200;

/// The longest such delay.
const OUTAGE_MAX: i64 = 30_000;

/// The delay of a retry policy before repeat `n` (counted from 0), in milliseconds: constant,
/// `base · (n + 1)` or `base · 2ⁿ`, never more than a day.
pub fn delay(backoff: Backoff, base: i64, n: u32) -> i64 {
    let grown = match backoff {
        Backoff::Constant => base,
        Backoff::Linear => base.saturating_mul(i64::from(n) + 1),
        Backoff::Exponential => {
            base.saturating_mul(1i64.checked_shl(n.min(62)).unwrap_or(i64::MAX))
        }
    };
    grown.clamp(0, DAY)
}

/// The delay after `misses` outage-like failures in a row: 0.2 s, doubling to 30 s, of which up to
/// a half is left to chance.
pub fn outage_delay(misses: u32, random: u64) -> i64 {
    let full = OUTAGE_FIRST.saturating_mul(1 << misses.min(20)).min(OUTAGE_MAX);
    let half = full / 2;
    half + (random % (half as u64 + 1)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_grow_as_the_language_says() {
        let three = |backoff| [0, 1, 2].map(|n| delay(backoff, 100, n));
        assert_eq!(three(Backoff::Constant), [100, 100, 100]);
        assert_eq!(three(Backoff::Linear), [100, 200, 300]);
        assert_eq!(three(Backoff::Exponential), [100, 200, 400]);
        assert_eq!(delay(Backoff::Exponential, 1000, 200), DAY);
    }

    #[test]
    fn outages_are_asked_after_less_and_less() {
        assert!((100..=200).contains(&outage_delay(0, 12345)));
        assert!((15_000..=30_000).contains(&outage_delay(30, 999)));
    }
}
