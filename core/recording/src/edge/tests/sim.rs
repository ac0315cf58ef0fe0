//! The machine in a site of which everything fails that can: a simulation by events, decided by a seed.
//!
//! [`site`] plays cameras, storages, the shell and the line to the outside, with chance; [`judge`] keeps what is true, and what the
//! machine said, and knows nothing of how it decides. A seed that fails is printed, and plays again by [`play`].

mod chance;
mod fate;
mod judge;
mod site;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::site::Site;

/// How many sites are played: some seconds on each of two threads.
const SEEDS: u64 = 2_000;

/// Lets a site run through all that befalls it, and then until it is well again.
fn play(seed: u64) {
    let mut site = Site::new(seed);
    site.run_through_faults();
    site.heal();
    site.recover();
}

fn play_all(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        if let Err(why) = catch_unwind(AssertUnwindSafe(|| play(seed))) {
            let why = why.downcast_ref::<String>().map_or("it panicked", String::as_str);
            panic!("seed {seed}: {why}");
        }
    }
}

/// Once all is well again for long enough: what any storage still holds is outside, what is lost is what was on dead storages only
/// and was named, the relay is in its window; and no limit was exceeded at any time.
#[test]
fn whatever_fails_what_is_kept_is_outside_in_the_end_and_what_is_lost_is_named() {
    std::thread::scope(|scope| {
        scope.spawn(|| play_all((0..SEEDS).step_by(2)));
        play_all((1..SEEDS).step_by(2));
    });
}
