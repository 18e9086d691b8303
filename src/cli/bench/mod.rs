//! `caseworker bench`: starts a server and a service of their own, loads them, and reports figures.
//! Benches report; they assert nothing but that no case was lost.

mod load;
mod people;
mod report;
mod runs;
mod schedules;
mod work;
mod world;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Exit, block_on, output};
use report::Report;
use world::World;

/// Measure this build on this machine.
#[derive(Args)]
pub struct Bench {
    /// Which figures; all of them unless named
    #[arg(value_enum)]
    only: Vec<Figure>,
    /// Cases of a throughput run
    #[arg(long, default_value_t = 20_000)]
    cases: usize,
    /// Connections that submit
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Runs of each throughput figure; the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Cases that are parked
    #[arg(long, default_value_t = 200_000)]
    parked: usize,
    /// Cases after which the memory is measured
    #[arg(long, default_value_t = 100_000)]
    memory_cases: usize,
    /// Events in the journal from which the views are made anew
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// Cases in flight when the process is killed
    #[arg(long, default_value_t = 5000)]
    killed: usize,
    /// The folder to work in; a new one beside the system's temporary files unless named
    #[arg(long)]
    folder: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    output: output::Format,
}

/// A figure.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum Figure {
    /// Five HTTP calls one after the other, and the acknowledgements of their submissions
    Order5,
    /// Five built-in echoes one after the other
    Echo5,
    /// One submission at a time, and one case at a time
    Single,
    /// Resident memory, idle and after many cases
    Memory,
    /// Parked cases: memory, and how long a start takes
    Parked,
    /// A start without views
    Rebuild,
    /// kill -9 with cases in flight
    Kill,
    /// Submissions while batches of 1,000 events come in
    Batches,
    /// Plans of people's tasks: how long they take, and what a booking costs
    People,
    /// Jobs of workers outside
    Work,
    /// Schedules that are due in the same second
    Schedules,
    /// An invoice that is rendered
    Documents,
}

impl Figure {
    const ALL: [Self; 12] = [
        Self::Order5,
        Self::Echo5,
        Self::Single,
        Self::Memory,
        Self::Parked,
        Self::Rebuild,
        Self::Kill,
        Self::Batches,
        Self::People,
        Self::Work,
        Self::Schedules,
        Self::Documents,
    ];
}

impl Bench {
    pub fn run(self) -> Exit {
        let json = self.output.is_json();
        block_on(async {
            match self.measure().await {
                Ok(report) => {
                    if json {
                        println!("{}", report.json());
                    } else {
                        println!("{}", report.table());
                    }
                    Exit::Ok
                }
                Err(error) => {
                    eprintln!("{error}");
                    Exit::Failed
                }
            }
        })
    }

    async fn measure(self) -> Result<Report, String> {
        let figures = if self.only.is_empty() { Figure::ALL.to_vec() } else { self.only.clone() };
        let mut report = Report::default();
        for figure in figures {
            let mut world = World::open(self.folder.as_deref()).await?;
            match figure {
                Figure::Order5 => runs::order5(&self, &mut world, &mut report).await?,
                Figure::Echo5 => runs::echo5(&self, &mut world, &mut report).await?,
                Figure::Single => runs::single(&mut world, &mut report).await?,
                Figure::Memory => runs::memory(&self, &mut world, &mut report).await?,
                Figure::Parked => runs::parked(&self, &mut world, &mut report).await?,
                Figure::Rebuild => runs::rebuild(&self, &mut world, &mut report).await?,
                Figure::Kill => runs::kill(&self, &mut world, &mut report).await?,
                Figure::Batches => runs::batches(&self, &mut world, &mut report).await?,
                Figure::Work => work::work(&self, &mut world, &mut report).await?,
                Figure::Schedules => {
                    schedules::schedules(&self, &mut world, &mut report).await?;
                }
                Figure::Documents => schedules::documents(&mut world, &mut report).await?,
                Figure::People => people::people(&self, &mut world, &mut report).await?,
            }
            world.close().await;
        }
        Ok(report)
    }
}
