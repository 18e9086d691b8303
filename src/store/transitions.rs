//! Transitions of breakers, as they lie in the journal: `["opened", {"cause": {…}}]`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::service::circuit::{Cause, Transition};
use crate::domain::time::Timestamp;

#[derive(Serialize, Deserialize, Default)]
struct Rest {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    service: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    cause: Option<Cause>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    reason: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    until: Option<Timestamp>,
    /// Until when the service has asked for a pause, whatever else it is at.
    #[serde(rename = "pausedUntil", skip_serializing_if = "Option::is_none", default)]
    paused_until: Option<Timestamp>,
}

/// A transition as it is stored: the last one of a service says how it stands.
#[derive(Debug, PartialEq)]
pub struct Stored {
    pub service: Arc<str>,
    pub transition: Transition,
    /// Until when it has asked for a pause.
    pub paused_until: Option<Timestamp>,
}

/// Writes a transition of a service as the events of a record.
pub fn encode(stored: &Stored) -> Vec<u8> {
    let Stored { service, transition, paused_until } = stored;
    let (service, paused_until) = (Some(service.clone()), *paused_until);
    let (word, rest) = match transition.clone() {
        Transition::Opened { cause } => ("opened", Rest { cause: Some(cause), ..Rest::default() }),
        Transition::Closed => ("closed", Rest::default()),
        Transition::Isolated { reason, until } => {
            ("isolated", Rest { reason: Some(reason), until: Some(until), ..Rest::default() })
        }
        Transition::Released => ("released", Rest::default()),
        Transition::Paused { until } => ("paused", Rest { until: Some(until), ..Rest::default() }),
    };
    let event = (word, Rest { service, paused_until, ..rest });
    serde_json::to_vec(&[event]).expect("transitions are plain JSON")
}

/// Reads a transition.
///
/// # Errors
/// What cannot be read.
pub fn decode(bytes: &[u8]) -> Result<Stored, String> {
    let events: [(String, Rest); 1] = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let [(word, rest)] = events;
    let service = rest.service.ok_or("no service is named")?;
    let paused_until = rest.paused_until;
    let transition = match (&*word, rest.cause, rest.reason, rest.until) {
        ("opened", Some(cause), _, _) => Transition::Opened { cause },
        ("closed", ..) => Transition::Closed,
        ("isolated", _, Some(reason), Some(until)) => Transition::Isolated { reason, until },
        ("released", ..) => Transition::Released,
        ("paused", _, _, Some(until)) => Transition::Paused { until },
        _ => return Err(format!("`{word}` is no transition of a breaker")),
    };
    Ok(Stored { service, transition, paused_until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let at = Timestamp(1_700_000_000_000);
        let cause = Cause { at, status: 503, detail: "no connection".into() };
        for transition in [
            Transition::Opened { cause },
            Transition::Closed,
            Transition::Isolated { reason: "maintenance".into(), until: at },
            Transition::Released,
            Transition::Paused { until: at },
        ] {
            let paused_until = Some(at).filter(|_| transition == Transition::Released);
            let stored = Stored { service: "bobs-post".into(), transition, paused_until };
            assert_eq!(decode(&encode(&stored)), Ok(stored));
        }
        assert!(decode(b"[[\"other\",{\"service\":\"x\"}]]").is_err());
    }
}
