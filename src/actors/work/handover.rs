//! Jobs on their way to their worker.

use std::sync::Arc;

use super::poll::Handed;
use crate::actors::context::Context;

/// Jobs that were leased for a worker and have not reached it: where they are dropped on the way they are given
/// back, which counts for nothing.
pub struct Handover {
    context: Arc<Context>,
    jobs: Vec<Handed>,
    is_over: bool,
}

impl Handover {
    /// These are on their way from now on.
    pub fn new(context: Arc<Context>, jobs: Vec<Handed>) -> Self {
        Self { context, jobs, is_over: false }
    }

    /// The jobs.
    pub fn jobs(&self) -> &[Handed] {
        &self.jobs
    }

    /// Their worker has them, or comes again for them: nothing is given back any more.
    pub fn is_over(&mut self) {
        self.is_over = true;
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        for handed in std::mem::take(&mut self.jobs) {
            let context = self.context.clone();
            let token = handed.token;
            self.context.runtime.spawn(async move {
                context.give_back(handed.job.id, &token).await;
            });
        }
    }
}
