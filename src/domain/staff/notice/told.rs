//! What readers know of a plan once a notice has left, or has not.

use super::{Line, Notice, Reader, Told};
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
        if let Some(mark) = line.mark {
            item.said.push((who.clone(), mark));
            continue;
        }
        let known = item.told.iter().position(|told| told.who == who);
        before.extend(known.map(|place| (line.booking, item.told.remove(place))));
        let told = told_of(notice, line);
        item.told.extend((told.seen.is_some() || told.promised).then_some(told));
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
        if let Some(mark) = line.mark {
            item.said.retain(|said| *said != (who.clone(), mark));
            continue;
        }
        item.told.retain(|told| told.who != who);
        let known = before.iter().find(|(booking, _)| *booking == line.booking);
        let known = known.map(|(_, told)| told.clone());
        item.told.extend(match (known, doubt) {
            (known, false) => known,
            (Some(known), true) => {
                let perhaps = line.now.clone().or(known.perhaps);
                Some(Told { doubt, perhaps, ..known })
            }
            (None, true) => {
                let (seen, perhaps) = (None, line.now.clone());
                Some(Told { seen, doubt, perhaps, promised: false, ..told_of(notice, line) })
            }
        });
    }
    if plan.items.iter().all(|item| item.told.is_empty()) {
        // nobody has heard of it yet
        plan.told = None;
    }
}

/// What was told, as it is remembered.
fn told_of(notice: &Notice, line: &Line) -> Told {
    let (who, email) = (notice.reader.who(), notice.reader.email().into());
    let (zone, is_customer) = match &notice.reader {
        Reader::Customer(customer) => (Some(customer.zone.clone()), true),
        Reader::Csr(_) | Reader::Lead => (None, false),
    };
    let promised = is_customer && line.now.is_none() && !line.ended;
    Told { who, email, zone, seen: line.now.clone(), doubt: false, perhaps: None, promised }
}
