//! The supervision tree, and the handles that the rest of the program holds.
//!
//! ```text
//! root ─┬─ case supervisor ── one actor for each live case
//!       ├─ CSR supervisor ─── one availability actor for each CSR that was asked something
//!       ├─ planner       plans of cases -> who and when
//!       ├─ breaker, one for each service
//!       ├─ queue, one for each queue of jobs
//!       ├─ schedule, one for each workflow that begins by itself
//!       ├─ projector     the journal's tail -> views, feed, who has to be told
//!       ├─ notifier      rows of news -> cases
//!       ├─ starter       accepted cases -> started ones
//!       ├─ timers        due instants -> cases
//!       └─ housekeeper   room on the disk, gauges
//! ```
//!
//! Who writes to whom, and what bounds it (ractor's mailboxes have no bound of their own):
//!
//! | edge | bound | at the bound |
//! |---|---|---|
//! | API → case | 64 clients for each case | 429 |
//! | intake → new case | places, `[cases] live_max` | accepted, pending |
//! | intake → pending | `[cases] pending_max` | 429 with Retry-After |
//! | timers, breaker, recovery → case | places; in a careful start one at a time | a want, 10,000 of them; then their rows are read again |
//! | notifier → case | 1,000 cases told of what is new and 16 of the rest, each of 200 events or 1 MiB in one go; 10,000 known to be new | it waits; the rows have all |
//! | events read for cases | 16 MiB of records in hand, 4 read at a time | the notifier waits |
//! | starter → case | 64 cases that wait for a place | it waits |
//! | anybody → case without an actor | its slot's queue: clients as above, each wake once | |
//! | dispatcher → case | one result for each attempt in flight | permits of the services |
//! | case → dispatcher | a pool for each kind of effect | an effect that leaves too late is not sent |
//! | case → committer | one append for each live case | the case waits |
//! | committer → projector | notes of 50,000 entities, 64 MiB | they are dropped; the projector reads the journal |
//! | projector → views | a batch of 100,000 changes | it is written, and another begins |
//! | events from outside → committer | views that lag 5 s | 503 |
//! | projector → feed | a ring of 4,096 changes | followers are told to start over |
//! | API → queue | 1,000 workers that wait | 429 |
//! | case → queue | 1,024 heads of its line and of its repeats; one `Look` until it has looked | the index has all |
//! | queue → case | 32 leases of one poll at a time; 100 jobs and 4 MiB in one answer | the rest stays in its line |
//! | results → case | 100 in a request, each case in its own order; as clients above | 429 |
//! | log lines → files | 1,024 messages; 256 KiB of an attempt, 1 GiB in all | what comes is left out, and counted |
//! | schedule → new case | 100 runs of one under way; as clients above | skipped; owed |
//! | events → schedule | one `Look` until it has looked; 100 events at a time | the index has all |
//! | schedules | 5,000 | the registration is refused |
//! | queues, workers known | 1,000; 10,000 | an error of the task; the longest silent is forgotten |
//! | case → evaluator | 64 jobs | the case waits |
//! | dispatcher → composer | 2 mails made at a time, 32 under way | they wait; what leaves too late is not sent |
//! | call → names | 32 lookups, 1,000 names known | they wait; what nobody waits for is not looked up |
//! | gate → breaker | one `Look` until it has looked | |
//! | API → CSR | 64 clients for each CSR | 429 |
//! | case → CSR | one message for each proposal, release and end: 1,000 open tasks of a case | the task fails |
//! | case → planner | one message for each plan that is looked for | |
//! | CSR → cases | 16 told at the same time of what does not fit any more | they wait |
//! | who waits for people → case | one case looks again at a time; 10,000 that have just begun to wait | the index has all |
//! | CSRs | 5,000, of 2,000 reservations each | 503; refused |
//!
//! `context` holds what all of them share; [`handles`] is what the API may name.

mod alarm;
pub mod cases;
mod context;
pub mod definitions;
pub mod disk;
mod documents;
pub mod effects;
pub mod engine;
mod events;
mod events_in_hand;
pub mod handles;
mod histories;
mod housekeeper;
mod projection;
mod recovery;
mod registry;
mod restart;
mod root;
mod schedules;
mod services;
mod staff;
#[cfg(test)]
mod tests;
mod timers;
mod work;
