//! The description says what there is, and the examples of the reference are what is sent.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::backups::{BackupChanges, BackupContents};
use super::lists::FailoverSetupBody;
use super::primaries::{Backups, PrimaryBody, RegisterBody, Registrations, ReplaceBody, Replaced};
use super::reports::FailoverReports;
use super::scans::RecorderScan;
use super::*;

const REFERENCE: &str = include_str!("../../../../docs/ref/failover.md");

#[test]
fn every_route_is_described_and_stands_in_the_reference() {
    let rules = table();
    let routes: BTreeSet<(String, String)> =
        rules.rules().iter().map(|rule| (rule.method.to_string(), rule.path.to_owned())).collect();
    let document = serde_json::to_value(part().description).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    assert_eq!(described, routes);
    for (_, path) in routes {
        assert!(REFERENCE.contains(&format!(" {path}`](#")), "{path} is not in the reference");
    }
}

/// What other roles add is in the whole description: with who may ask, and in the status socket.
#[test]
fn the_whole_description_has_this_part() {
    let document = serde_json::to_value(keepwatch_recorder::api::openapi(&[part()])).unwrap();
    let show = &document["paths"]["/api/v1/failover"]["get"];
    assert!(show["description"].as_str().unwrap().contains("For users who are at least viewer everywhere"));
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["StatusSnapshot"]["properties"]["failover"]["$ref"], "#/components/schemas/Failover");
    let required = schemas["Failover"]["required"].as_array().unwrap();
    assert_eq!(required.len(), schemas["Failover"]["properties"].as_object().unwrap().len());
    for reference in document.to_string().split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas[name].is_object(), "{name} is not described");
    }
}

/// The blocks of the reference by the name of their type: "```json Failover".
fn example(name: &str) -> Value {
    let begin = format!("```json {name}\n");
    let (_, rest) = REFERENCE.split_once(&begin).unwrap_or_else(|| panic!("there is no example of {name}"));
    let text = rest.split("```").next().unwrap();
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"))
}

/// What is answered has these fields and no other.
fn answered<T: Serialize + DeserializeOwned>(name: &str) {
    let example = example(name);
    let read: T = serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(serde_json::to_value(read).unwrap(), example, "{name}");
}

#[test]
fn the_examples_of_the_reference_are_what_is_sent() {
    answered::<Failover>("Failover");
    answered::<Registrations>("Registrations");
    answered::<Backups>("Backups");
    answered::<Replaced>("Replaced");
    answered::<RecorderScan>("RecorderScan");
    answered::<BackupContents>("BackupContents");
    answered::<BackupChanges>("BackupChanges");
    answered::<FailoverReports>("FailoverReports");
    serde_json::from_value::<RegisterBody>(example("RegisterBody")).unwrap();
    serde_json::from_value::<ReplaceBody>(example("ReplaceBody")).unwrap();
    serde_json::from_value::<PrimaryBody>(example("PrimaryBody")).unwrap();
    serde_json::from_value::<FailoverSetupBody>(example("FailoverSetupBody")).unwrap();
}
