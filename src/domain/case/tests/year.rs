//! A year of onboardings: shifts in four time zones, both changes of the clocks, people who are away, join
//! and leave, tasks that take longer than they should, customers who do not answer, admins who change their
//! minds, mail, and a process that is killed at any time. Seeded: `YEAR_SEED` repeats a run, `YEAR_CASES` says
//! how many onboardings there are; `make year` runs the 5,000 that it is meant for, of a seed by chance.

mod acts;
mod office;
mod oracle;
mod people;

use office::Year;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn a_year_of_onboardings_comes_to_its_end() {
    let (seed, cases) = (number("YEAR_SEED", 2026), number("YEAR_CASES", 600));
    eprintln!("YEAR_SEED={seed} YEAR_CASES={cases}");
    let mut year = Year::begin(seed, cases as usize);
    year.run();
    year.check_the_end();
}
