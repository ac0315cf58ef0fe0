//! Two standbys watch one recorder, and one of them decides which covers.

use std::time::Duration;

use keepwatch_it::{Cameras, Node, Site, wait_until};
use serde_json::{Value, json};

use crate::failover::{
    PATIENCE, ROOT, command, free_port, lists, primary, register_as, standby_at, wait_watched,
};
use crate::{alone, reconfigure};

/// The primary with this name in the lists of a standby.
fn monitored(standby: &Node, name: &str) -> anyhow::Result<Value> {
    let lists = lists(standby)?;
    let mut all = lists["monitoring"].as_array().into_iter().flatten();
    Ok(all.find(|primary| primary["name"] == name).cloned().unwrap_or_default())
}

/// The claim of the failover of north, where it runs.
fn claim(standby: &Node) -> anyhow::Result<Option<String>> {
    let lists = lists(standby)?;
    let mut all = lists["failovers"].as_array().into_iter().flatten();
    let north = all.find(|failover| failover["name"] == "north");
    Ok(north.and_then(|failover| failover["claim"].as_str().map(str::to_owned)))
}

/// A primary with `count` cameras, the standby south, which decides, and west, which asks it and has `limit` in its configuration.
/// Both watch the primary, whose address and role come with them.
fn site_with_two(sites: &[Site], cameras: &Cameras, count: usize, limit: &str) -> (Node, Node, Node, String) {
    let (north, address) = primary(&sites[1], cameras, "north");
    north.first_label("cam1").unwrap();
    let south_address = format!("127.0.0.1:{}", free_port());
    let south = standby_at(&sites[2], "south", &south_address);
    let mut west = standby_at(&sites[3], "west", "127.0.0.1:0");
    register_as(&south, &address, true);
    wait_watched(&south, count);
    let role = register_as(&west, &address, true);
    wait_watched(&west, count);

    // A coordinator that is not watched says so; registered, it is asked.
    reconfigure(&sites[3], "[standby]\n", &format!("[standby]\ncoordinator = \"south\"\n{limit}"));
    west.program().signal(libc::SIGHUP);
    wait_until("a coordinator that is named", PATIENCE, || {
        Ok(lists(&west)?["coordinator"]["problem"].as_str().map(str::to_owned))
    })
    .unwrap();
    register_as(&west, &south_address, true);
    wait_until("a coordinator that can be asked", PATIENCE, || {
        Ok((lists(&west)?["coordinator"] == json!({"name": "south", "problem": null})).then_some(()))
    })
    .unwrap();
    (north, south, west, role)
}

/// The one that has less room would send the other one to rest, and nobody would record the rest of the cameras.
#[test]
fn a_standby_that_cannot_record_all_leaves_the_cover_to_one_that_can() {
    let _machine = alone();
    let sites: Vec<Site> = (0..4).map(|_| Site::new().unwrap()).collect();
    let cameras = Cameras::start(&sites[0], 2, "127.0.0.1").unwrap();
    let (mut north, south, west, role) = site_with_two(&sites, &cameras, 2, "cameras_max = 1\n");
    wait_until("both cameras of its backup", PATIENCE, || {
        let backups = [monitored(&south, "north")?, monitored(&west, "north")?];
        let known = backups.iter().all(|primary| primary["last_backup"]["cameras"] == 2);
        Ok((known && lists(&west)?["capacity"]["cameras"] == 1).then_some(()))
    })
    .unwrap();
    // South is to begin later, as if its first check came later: by hand.
    let path = format!("{ROOT}/primaries/{role}");
    assert_eq!(south.http().request("PUT", &path, Some(&json!({"mode": "manual"}))).unwrap().status, 204);
    north.program().kill().unwrap();
    drop(north);
    let incomplete = wait_until("what west records", PATIENCE, || {
        let failover = lists(&west)?["failovers"][0].clone();
        Ok((failover["claim"] == "incomplete").then_some(failover))
    })
    .unwrap();
    assert_eq!((&incomplete["cameras"], &incomplete["lacks"]), (&json!(1), &json!(["cam2"])));
    assert_eq!(command(&south, &role, "failover").0, 204);
    wait_until("south covers, and west rests", PATIENCE, || {
        let left = monitored(&west, "north")?["left_to_other"] == true;
        Ok((left && claim(&south)?.as_deref() == Some("held")).then_some(()))
    })
    .unwrap();
    assert_eq!(lists(&south).unwrap()["failovers"][0]["recorded"], 2);
    south.end().unwrap();
    west.end().unwrap();
}

#[test]
fn of_two_standbys_one_covers_and_the_other_takes_over_from_it() {
    let _machine = alone();
    let sites: Vec<Site> = (0..4).map(|_| Site::new().unwrap()).collect();
    let cameras = Cameras::start(&sites[0], 1, "127.0.0.1").unwrap();
    let (mut north, mut south, west, role) = site_with_two(&sites, &cameras, 1, "");
    north.program().kill().unwrap();
    drop(north);
    // Both may begin; one keeps on.
    let (first, second) = wait_until("one that covers and one that leaves it to the other", PATIENCE, || {
        let left = |standby: &Node| anyhow::Ok(monitored(standby, "north")?["left_to_other"] == true);
        let held = |standby: &Node| anyhow::Ok(claim(standby)?.as_deref() == Some("held"));
        Ok(if held(&south)? && left(&west)? {
            Some(("south", "west"))
        } else if held(&west)? && left(&south)? {
            Some(("west", "south"))
        } else {
            None
        })
    })
    .unwrap();
    assert_ne!(first, second);
    let coverer = if first == "south" { &south } else { &west };
    wait_until("footage", PATIENCE, || Ok((lists(coverer)?["failovers"][0]["recorded"] == 1).then_some(())))
        .unwrap();

    if first == "west" {
        // Stop gives the claim back: the other one has it at its next question.
        assert_eq!(command(&west, &role, "stop").0, 204);
        wait_until("the claim of the other", PATIENCE, || {
            Ok((claim(&south)?.as_deref() == Some("held")).then_some(()))
        })
        .unwrap();
        let change = json!({"mode": "auto"});
        let path = format!("{ROOT}/primaries/{role}");
        assert_eq!(west.http().request("PUT", &path, Some(&change)).unwrap().status, 204);
        wait_until("west rests", PATIENCE, || {
            Ok((monitored(&west, "north")?["left_to_other"] == true).then_some(()))
        })
        .unwrap();
    }
    // The coordinator dies, and covered: nobody can be asked, and the other one records all the same.
    south.program().kill().unwrap();
    drop(south);
    wait_until("a cover that nobody confirms", PATIENCE, || {
        Ok((claim(&west)?.as_deref() == Some("unconfirmed")).then_some(()))
    })
    .unwrap();
    wait_until("footage of the other", PATIENCE, || {
        let lists = lists(&west)?;
        let mut all = lists["failovers"].as_array().into_iter().flatten();
        Ok(all.any(|failover| failover["name"] == "north" && failover["recorded"] == 1).then_some(()))
    })
    .unwrap();

    // It is back, and both agree again: one of them covers.
    let south = Node::start(&sites[2]).unwrap();
    wait_until("one holder", Duration::from_secs(60), || {
        let held = [claim(&south)?, claim(&west)?];
        let holders = held.iter().filter(|claim| claim.as_deref() == Some("held")).count();
        let running = held.iter().flatten().count();
        Ok((holders == 1 && running == 1).then_some(()))
    })
    .unwrap();
    south.end().unwrap();
    west.end().unwrap();
}
