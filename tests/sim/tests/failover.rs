//! Failovers under thousands of schedules of faults. `KEEPWATCH_SIM_SEED` repeats one, `KEEPWATCH_SIM_SEEDS` sets how many.

use keepwatch_sim::{Ability, Chance, Fault, SECOND, Shape, Site};

/// Schedules of each test, unless something else is asked for.
const SEEDS_USUAL: u64 = 1_000;
/// What has not passed the disks yet when it is counted.
const TAIL: u64 = 6 * SECOND;
/// Longest that a site takes to be idle again, with an operator at hand.
const HEALING: u64 = 90 * SECOND;

/// The seeds to try.
fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("it is a number"));
    match number("KEEPWATCH_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("KEEPWATCH_SIM_SEEDS").unwrap_or(SEEDS_USUAL)).collect(),
    }
}

/// Anything that can happen at or to a primary.
fn fault_of_primary(chance: &mut Chance, shape: &Shape) -> Fault {
    let (primary, camera) = (chance.place(shape.primaries), chance.place(shape.cameras));
    let standby = chance.place(shape.standbys.len());
    match chance.place(8) {
        0 | 1 => Fault::Kill(primary),
        2 => Fault::Stop(primary),
        3 => Fault::SlowDisk(primary, chance.between(5, 5 * SECOND)),
        4 => Fault::DeadDisk(primary),
        5 => Fault::CameraCut(primary, camera),
        6 => Fault::CamerasCut(primary),
        _ => Fault::Parted(standby, primary),
    }
}

/// Anything at all.
fn fault(chance: &mut Chance, shape: &Shape) -> Fault {
    let (primary, standby) = (chance.place(shape.primaries), chance.place(shape.standbys.len()));
    match chance.place(8) {
        0 => Fault::KillStandby(standby),
        1 => Fault::Uncoordinated(standby),
        2 => Fault::Blind(standby, primary),
        _ => fault_of_primary(chance, shape),
    }
}

/// Has primaries of `site` fail one after another, each whole again before the next, and nothing may be lost of it.
fn single_failures(site: &mut Site, shape: &Shape, seed: u64) {
    site.run(20 * SECOND);
    let from = site.now() - 10 * SECOND;
    for _ in 0..4 {
        let fault = fault_of_primary(&mut Chance::new(site.chance().between(0, u64::MAX - 1)), shape);
        site.begin(fault);
        let steps = match site.chance().place(3) {
            0 => site.chance().between(1, 4 * SECOND),
            1 => site.chance().between(1, 8 * SECOND),
            _ => site.chance().between(5 * SECOND, 60 * SECOND),
        };
        site.run_with_operator(steps);
        site.end(fault);
        site.run_with_operator(HEALING);
        assert!(site.is_idle(), "seed {seed}: still covered after {fault:?}\n{site:?}");
        let lost = site.lost(&(from..site.now() - TAIL));
        assert!(lost.is_empty(), "seed {seed}: {fault:?} cost {lost:?}\n{site:?}");
    }
    let lacks = site.not_replenished();
    assert!(lacks.is_empty(), "seed {seed}: {lacks:?}");
}

#[test]
fn a_single_failure_of_a_primary_costs_no_frame() {
    let shape = Shape { primaries: 3, cameras: 2, standbys: vec![Ability { capacity: 6, buffers: true }] };
    for seed in seeds() {
        single_failures(&mut Site::new(&shape, seed), &shape, seed);
    }
}

/// One standby can record everything. Others have less room or none, no pre-buffer, or no way to the cameras of a primary, and no
/// better watch: none of them may send it to rest.
#[test]
fn a_single_failure_costs_no_frame_beside_standbys_that_record_less() {
    for seed in seeds() {
        let mut chance = Chance::new(seed);
        let whole = Ability { capacity: 6, buffers: true };
        let mut standbys: Vec<Ability> = (0..=chance.place(2))
            .map(|_| Ability { capacity: chance.place(7), buffers: chance.once_in(2) })
            .collect();
        standbys.insert(chance.place(standbys.len() + 1), whole);
        let shape = Shape { primaries: 3, cameras: 2, standbys };
        let mut site = Site::new(&shape, seed);
        for (number, ability) in shape.standbys.iter().enumerate() {
            // Alike in this, one may be the one that can record everything.
            if !(ability.capacity == 6 && ability.buffers) && chance.once_in(2) {
                site.begin(Fault::Blind(number, chance.place(shape.primaries)));
            }
        }
        single_failures(&mut site, &shape, seed);
    }
}

#[test]
fn many_failures_at_once_end_in_a_site_that_is_whole_and_idle() {
    for seed in seeds() {
        let mut chance = Chance::new(seed);
        let standbys = (0..2).map(|_| Ability { capacity: chance.place(7), buffers: chance.once_in(2) });
        let shape = Shape { primaries: 3, cameras: 2, standbys: standbys.collect() };
        let mut site = Site::new(&shape, seed);
        site.run(10 * SECOND);
        let mut running: Vec<Fault> = Vec::new();
        for _ in 0..30 {
            if running.len() > 4 || (!running.is_empty() && chance.once_in(2)) {
                let fault = running.swap_remove(chance.place(running.len()));
                site.end(fault);
            } else {
                let fault = fault(&mut chance, &shape);
                // What is down cannot fall.
                if !running.iter().any(|other| clash(*other, fault)) {
                    site.begin(fault);
                    running.push(fault);
                }
            }
            site.run_with_operator(chance.between(1, 10 * SECOND));
        }
        for fault in running {
            site.end(fault);
        }
        site.run_with_operator(HEALING);
        let from = site.now();
        site.run(20 * SECOND);
        assert!(site.is_idle(), "seed {seed}: still covered\n{site:?}");
        let lost = site.lost(&(from..site.now() - TAIL));
        assert!(lost.is_empty(), "seed {seed}: {lost:?}\n{site:?}");
        let lacks = site.not_replenished();
        assert!(lacks.is_empty(), "seed {seed}: {lacks:?}\n{site:?}");
    }
}

/// Both set the same thing, so the end of one would end the other.
fn clash(one: Fault, other: Fault) -> bool {
    let whose = |fault: Fault| match fault {
        Fault::Kill(primary) | Fault::Stop(primary) => (0, primary, 0),
        Fault::SlowDisk(primary, _) => (1, primary, 0),
        Fault::DeadDisk(primary) => (2, primary, 0),
        Fault::CameraCut(primary, _) | Fault::CamerasCut(primary) => (3, primary, 0),
        Fault::Parted(standby, primary) => (4, primary, standby),
        Fault::Uncoordinated(standby) => (5, standby, 0),
        Fault::KillStandby(standby) => (6, standby, 0),
        Fault::Blind(standby, primary) => (7, primary, standby),
    };
    whose(one) == whose(other)
}
