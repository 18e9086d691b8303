//! Work that is done outside: jobs, the queues that they stand in, the leases under which workers have
//! them. A job is its task's attempt; what is known of it stands in its case.

pub mod desk;
pub mod job;
pub mod lease;
pub mod pace;
pub mod queue;
pub mod row;
pub mod waiting;
pub mod wanted;
pub mod worker;
