//! Finding an open task.

use super::CorruptHistory;
use crate::domain::case::state::{Activation, State};
use crate::domain::workflow::model::{Definition, TaskId};

pub fn open<'s>(
    definition: &Definition,
    state: &'s mut State,
    (task, iteration): (TaskId, u32),
) -> Result<&'s mut Activation, CorruptHistory> {
    let found = state.find_mut(definition, task, iteration);
    found.ok_or_else(|| {
        let reference = &definition.task(task).reference;
        CorruptHistory(format!("{reference} is not open in iteration {iteration}"))
    })
}
