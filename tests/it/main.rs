//! The program from outside: the real binary, real sockets, real processes that are killed.

mod applications;
mod billing;
mod bodies;
mod calendars;
mod cli;
mod documents;
mod door;
mod durable;
mod events;
mod examples;
mod jobs;
mod notices;
mod outage;
mod people;
mod process;
mod races;
mod schedules;
mod server;
mod shipped;
mod staff;
mod worker;
mod ws;
