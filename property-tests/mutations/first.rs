//! Runs the worlds of the seeds from 0 on until one breaks a rule, and says which. It is built in a copy of the sources, as an example.

use fulmar::testing::{Plan, World};

fn main() {
    let seeds = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let seeds: u64 = seeds.expect("how many seeds");
    for seed in 0..seeds {
        if let Some(violation) = World::run(&Plan::of(seed)).violation {
            println!("found {seed} {}", violation.what);
            return;
        }
    }
    println!("nothing");
}
