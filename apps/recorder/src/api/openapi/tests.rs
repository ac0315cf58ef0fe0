//! The description says what there is: every route and no other, and the examples of the reference fit it.

use std::collections::{BTreeMap, BTreeSet};

use keepwatch_model::{GapReason, Severity, StreamId, WallTime};
use serde_json::{Map, Value};

use super::*;

const REFERENCE: &str = include_str!("../../../../../docs/ref/api.md");

fn described() -> Value {
    serde_json::to_value(openapi(&[])).unwrap()
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let routes: BTreeSet<(String, String)> =
        rules(&[]).iter().map(|rule| (rule.method.to_string(), rule.path.to_owned())).collect();
    let document = described();
    let paths = document["paths"].as_object().unwrap();
    let operations: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    assert_eq!(operations, routes);
}

#[test]
fn every_operation_has_a_name_an_answer_and_a_rule() {
    let document = described();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} is there twice");
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses.keys().any(|status| status.starts_with('2') || status == "101"),
                "{method} {path}"
            );
            assert!(responses.contains_key("default"), "{method} {path}");
            assert!(operation["description"].as_str().unwrap().contains("For "), "{method} {path}");
            let parameters: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .map(|parameters| parameters.iter().filter(|it| it["in"] == "path").collect())
                .unwrap_or_else(Vec::new)
                .into_iter()
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let wanted: BTreeSet<&str> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(parameters, wanted, "{method} {path}");
        }
    }
    // What the description refers to is there.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name} is not described");
    }
}

/// A generated client would have to ask for each whether it is there.
#[test]
fn the_fields_of_answers_are_always_there_but_for_a_few_that_exist() {
    let document = described();
    let schemas = &document["components"]["schemas"];
    for (name, field) in fields::LEFT_OUT {
        assert!(schemas[name]["properties"][field].is_object(), "{name} has no field {field}");
    }
    let required = |name: &str| -> Vec<&str> {
        schemas[name]["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
    };
    assert!(required("CoverageItem").contains(&"reason") && !required("CoverageItem").contains(&"held"));
    assert!(required("Page_Camera").contains(&"next"));
    assert!(!required("ExportBody").contains(&"stream"), "who sends it may leave it out");
    let camera = schemas["Camera"]["allOf"][1]["required"].as_array().unwrap();
    assert!(camera.contains(&"clock_offset_ms".into()), "{camera:?}");
}

/// The words of the description are those that are written.
#[test]
fn words_are_those_of_the_model() {
    let document = described();
    let words = |name: &str| -> Vec<Value> {
        document["components"]["schemas"][name]["enum"].as_array().unwrap().clone()
    };
    let written = |values: &[GapReason]| -> Vec<Value> {
        values.iter().map(|value| serde_json::to_value(value).unwrap()).collect()
    };
    let reasons = written(&GapReason::ALL);
    assert_eq!(words("GapReason"), reasons);
    assert_eq!(words("CoverageReason")[..reasons.len()], reasons);
    let severities = [Severity::Info, Severity::Warning, Severity::Critical];
    assert_eq!(words("SeverityName"), severities.map(|it| serde_json::to_value(it).unwrap()));
    assert_eq!(words("StreamName"), [StreamId::MAIN, StreamId::SUB].map(|it| Value::from(it.to_string())));
}

/// The blocks of the reference that name a schema: "```json Camera".
#[test]
fn the_examples_of_the_reference_fit_their_schemas() {
    let document = described();
    let mut seen = 0;
    for block in REFERENCE.split("```json").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let text = rest.split("```").next().unwrap();
        let name = name.trim();
        assert!(!name.is_empty(), "an example names its schema, like ```json Camera: {text}");
        let schema = &document["components"]["schemas"][name];
        assert!(schema.is_object(), "there is no schema {name}");
        let example: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        if let Err(why) = fits(&document, schema, &example) {
            panic!("an example of {name}: {why}");
        }
        seen += 1;
    }
    assert!(seen >= 8, "{seen} examples");
}

#[test]
fn an_example_that_does_not_fit_is_noticed() {
    let document = described();
    let schema = &document["components"]["schemas"]["RevisionLine"];
    let right =
        serde_json::json!({"number": 3, "at": "2026-11-22T00:48:56.024300Z", "by": "admin", "what": "x"});
    assert_eq!(fits(&document, schema, &right), Ok(()));
    for (key, wrong) in [
        ("number", Value::from("3")),
        ("at", Value::from("yesterday")),
        ("by", Value::Null),
        ("more", Value::from(1)),
    ] {
        let mut example = right.clone();
        example[key] = wrong;
        assert!(fits(&document, schema, &example).is_err(), "{key}");
    }
    let mut example = right;
    example.as_object_mut().unwrap().remove("by");
    assert!(fits(&document, schema, &example).is_err(), "one that is missing");
}

/// Whether `value` is what `schema` describes, with nothing that it does not. As much of JSON Schema as is used here.
fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = resolved(document, schema);
    if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let found: Vec<_> = choices.iter().map(|choice| fits(document, choice, value)).collect();
        return if found.iter().any(Result::is_ok) {
            Ok(())
        } else {
            Err(format!("{value} is none of {found:?}"))
        };
    }
    if let Some(words) = schema["enum"].as_array() {
        return if words.contains(value) { Ok(()) } else { Err(format!("{value} is none of {words:?}")) };
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ if schema["allOf"].is_array() => vec!["object"],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Ok(()),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) if kinds.contains(&"number") => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&kind) {
        return Err(format!("{value} is no {kinds:?}"));
    }
    match value {
        Value::String(text) if schema["format"] == "date-time" => {
            text.parse::<WallTime>().map(|_| ()).map_err(|error| error.to_string())
        }
        Value::Array(items) => items.iter().try_for_each(|item| fits(document, &schema["items"], item)),
        Value::Object(object) => object_fits(document, schema, object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn object_fits(document: &Value, schema: &Value, object: &Map<String, Value>) -> Result<(), String> {
    let (mut properties, mut required) = (BTreeMap::new(), BTreeSet::new());
    collect(document, schema, &mut properties, &mut required);
    if let Some(missing) = required.iter().find(|name| !object.contains_key(**name)) {
        return Err(format!("{missing} is missing"));
    }
    for (name, value) in object {
        match properties.get(name.as_str()) {
            Some(schema) => fits(document, schema, value).map_err(|why| format!("{name}: {why}"))?,
            None if schema["additionalProperties"].is_object() => {
                fits(document, &schema["additionalProperties"], value)
                    .map_err(|why| format!("{name}: {why}"))?;
            }
            None => return Err(format!("{name} is not described")),
        }
    }
    Ok(())
}

/// The properties of an object, also of those that it is made of.
fn collect<'d>(
    document: &'d Value,
    schema: &'d Value,
    properties: &mut BTreeMap<&'d str, &'d Value>,
    required: &mut BTreeSet<&'d str>,
) {
    let schema = resolved(document, schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        collect(document, part, properties, required);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        properties.insert(name, property);
    }
    required.extend(schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/components/schemas/")) {
        Some(name) => &document["components"]["schemas"][name],
        None => schema,
    }
}
