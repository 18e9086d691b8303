//! The clients that wait for one case, and their bound.

use std::sync::Arc;

/// Clients that wait for one case at the most.
const CLIENTS: usize = 64;

/// The turns of one case.
#[derive(Default)]
pub struct Turns(Arc<()>);

/// A client that waits for a case, for as long as this lives.
pub struct Turn {
    _waits: Arc<()>,
}

impl Turns {
    /// A turn for another client, if not too many wait already.
    pub fn take(&self) -> Option<Turn> {
        let waiting = Arc::strong_count(&self.0) - 1;
        (waiting < CLIENTS).then(|| Turn { _waits: self.0.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_bounded_by_their_turns() {
        let all = Turns::default();
        let mut turns: Vec<Turn> = (0..CLIENTS).map_while(|_| all.take()).collect();
        assert_eq!(turns.len(), CLIENTS);
        assert!(all.take().is_none());
        turns.pop();
        assert!(all.take().is_some());
    }
}
