//! Work outside: queues, the workers that ask them for jobs, the leases under which they have them. A job's
//! state is its case's; here is only who is asked next, and whose time is over.

pub mod answered;
pub mod handle;
pub mod handover;
mod leasing;
pub mod message;
pub mod poll;
pub mod queue;
pub mod queues;
pub mod results;
