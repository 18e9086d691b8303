//! What followers are told of a change: the entity's name, and what has become of it.

use serde_json::{Value as Json, json};

use super::show;
use crate::actors::handles::{Changed, FeedChange};
use crate::store::views::lists::CaseFilter;

/// What a change is to whoever follows with this filter; none: nothing.
pub fn told(filter: &CaseFilter, change: &FeedChange) -> Option<(&'static str, Json)> {
    let unfiltered = *filter == CaseFilter::default();
    let (kind, data) = match &change.what {
        Changed::Case(case) => {
            if !filter.accepts(case) {
                return None;
            }
            let data = json!({
                "id": case.id.to_string(),
                "workflow": case.definition.workflow(),
                "phase": case.phase.name(),
                "status": case.status,
                "wait": case.wait.as_ref().map(show::wait),
                "revision": case.version,
                "at": case.updated_at.to_string(),
            });
            ("case", data)
        }
        Changed::Assignment(one) => {
            let csr = one.csr.as_deref();
            let of_csr = filter.csr.iter().any(|wanted| csr == Some(wanted));
            let of_workflow = filter.workflow.iter().any(|w| *one.workflow == **w);
            if !unfiltered && !of_csr && !of_workflow {
                return None;
            }
            let data = json!({
                "id": one.id.to_string(), "case": one.case.to_string(),
                "workflow": one.workflow, "phase": one.phase.name(), "status": null,
                "csr": one.csr, "wait": null, "revision": one.revision,
                "at": one.since.to_string(),
            });
            ("assignment", data)
        }
        Changed::Service { name, state, at } => {
            let wanted = unfiltered || filter.service.iter().any(|s| **s == **name);
            if !wanted {
                return None;
            }
            let data = json!({
                "id": name, "workflow": null, "phase": null, "status": state,
                "wait": null, "revision": null, "at": at.to_string(),
            });
            ("service", data)
        }
        Changed::Queue(queue) => {
            if !unfiltered {
                return None;
            }
            let status = if queue.is_paused { "paused" } else { "open" };
            let data = json!({
                "id": queue.name, "workflow": null, "phase": null, "status": status,
                "wait": null, "revision": null, "depth": queue.depth, "leased": queue.leased,
                "at": queue.at.to_string(),
            });
            ("queue", data)
        }
        Changed::Schedule(schedule) => {
            let of_workflow = filter.workflow.iter().any(|w| *schedule.workflow == **w);
            if !unfiltered && !of_workflow {
                return None;
            }
            let data = json!({
                "id": schedule.id, "workflow": schedule.workflow, "phase": null,
                "status": schedule.state, "wait": null, "revision": schedule.revision,
                "at": schedule.at.to_string(),
            });
            ("schedule", data)
        }
        Changed::DeadLetter { id, case, workflow, state, at } => {
            let wanted = unfiltered || filter.workflow.iter().any(|w| w == workflow);
            if !wanted {
                return None;
            }
            let data = json!({
                "id": id.to_string(), "case": case.to_string(), "workflow": workflow,
                "phase": null, "status": state, "wait": null, "revision": null,
                "at": at.to_string(),
            });
            ("dead-letter", data)
        }
    };
    Some((kind, data))
}
