//! What readers know of a plan once a notice has left, or has not.

use super::owed::told_of;
use super::{Notice, Told};
use crate::domain::ids::BookingId;
use crate::domain::staff::plan::Plan;
use crate::domain::time::Timestamp;

/// Readers know what a notice says, once it has left. Gives what they knew before.
pub fn tell(plans: &mut [Plan], notice: &Notice, at: Timestamp) -> Vec<(BookingId, Told)> {
    let mut before = Vec::new();
    let Some(plan) = plans.iter_mut().find(|plan| plan.id == notice.plan) else { return before };
    let who = notice.reader.who();
    for line in &notice.lines {
        let Some(item) = plan.item_mut(line.booking) else { continue };
        match line.mark {
            Some(mark) => item.said.push((who.clone(), mark)),
            None => {
                let known = item.told.iter().position(|told| told.who == who);
                before.extend(known.map(|place| (line.booking, item.told.remove(place))));
                item.told.extend(line.now.is_some().then(|| told_of(notice, line)));
            }
        }
    }
    if notice.lines.iter().any(|line| line.mark.is_none()) {
        plan.told.get_or_insert(at);
    }
    before
}

/// A notice did not leave; `doubt`: nobody knows whether it did.
pub fn untell(plans: &mut [Plan], notice: &Notice, before: Vec<(BookingId, Told)>, doubt: bool) {
    let Some(plan) = plans.iter_mut().find(|plan| plan.id == notice.plan) else { return };
    let who = notice.reader.who();
    for line in &notice.lines {
        let Some(item) = plan.item_mut(line.booking) else { continue };
        match line.mark {
            Some(mark) => item.said.retain(|said| *said != (who.clone(), mark)),
            None => item.told.retain(|told| told.who != who),
        }
        if line.mark.is_none() && doubt {
            item.told.push(Told { seen: None, doubt, ..told_of(notice, line) });
        }
    }
    for (booking, told) in before {
        let Some(item) = plan.item_mut(booking) else { continue };
        let doubt = doubt || told.doubt;
        item.told.retain(|told| told.who != who);
        item.told.push(Told { doubt, ..told });
    }
}
