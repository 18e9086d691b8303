//! The ramp at which cases are let go once a service is back: additive increase, multiplicative
//! decrease, until the service bears all that it is configured for.

/// A full ramp has this many steps at the most.
const STEPS: u32 = 16;

/// How many calls may be under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ramp {
    limit: u32,
    max: u32,
    /// Calls answered since the limit last rose.
    answered: u32,
}

impl Ramp {
    /// The beginning: one call.
    pub fn from_one(max: u32) -> Self {
        Self { limit: 1, max, answered: 0 }
    }

    /// Half of what was under way when it became too much.
    pub fn from_half(in_flight: u32, max: u32) -> Self {
        Self { limit: (in_flight / 2).clamp(1, max), max, answered: 0 }
    }

    /// Calls that may be under way.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// A call was answered: once a whole round was, there may be more. True when it is through.
    pub fn answered(&mut self) -> bool {
        self.answered += 1;
        if self.answered >= self.limit {
            self.answered = 0;
            self.limit += (self.max / STEPS).max(1);
        }
        self.limit >= self.max
    }

    /// A call failed: half as many.
    pub fn failed(&mut self) {
        self.answered = 0;
        self.limit = (self.limit / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_by_rounds_and_falls_by_half() {
        let mut ramp = Ramp::from_one(32);
        assert!(!ramp.answered());
        assert_eq!(ramp.limit(), 3);
        (0..3).for_each(|_| assert!(!ramp.answered()));
        assert_eq!(ramp.limit(), 5);
        ramp.failed();
        assert_eq!(ramp.limit(), 2);
        let through = (0..1000).position(|_| ramp.answered()).expect("it ends");
        assert!(through > 32 && through < 300, "{through}");
    }

    #[test]
    fn never_stops_all_calls() {
        let mut ramp = Ramp::from_half(1, 8);
        (0..5).for_each(|_| ramp.failed());
        assert_eq!(ramp.limit(), 1);
    }
}
