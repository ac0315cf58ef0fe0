//! What a bench found: a table for people, one JSON object for machines.

use anyhow::Result;
use serde_json::{Map, Value, json};

/// The result of a bench.
pub(crate) struct Report {
    name: &'static str,
    cases: Vec<Case>,
}

/// One case of it.
pub(crate) struct Case {
    /// What was measured.
    pub(crate) case: String,
    /// Figures by name; null where the case promises none.
    pub(crate) figures: Map<String, Value>,
    /// Figures of peers measured in the same run, or the word `absent`.
    pub(crate) peers: Map<String, Value>,
    /// What the figures named here must not exceed.
    pub(crate) reach: Vec<(&'static str, f64)>,
}

impl Case {
    /// A case without peers.
    pub(crate) fn new(case: String, figures: Map<String, Value>, reach: Vec<(&'static str, f64)>) -> Self {
        Self { case, figures, peers: Map::new(), reach }
    }

    /// The figures that are over what was to be reached, or missing.
    fn missed(&self) -> Vec<&'static str> {
        self.reach
            .iter()
            .filter(|(name, most)| {
                self.figures.get(*name).and_then(Value::as_f64).is_none_or(|figure| figure > *most)
            })
            .map(|(name, _)| *name)
            .collect()
    }
}

impl Report {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, cases: Vec::new() }
    }

    /// Adds a case and shows it.
    pub(crate) fn add(&mut self, case: Case) {
        let missed = case.missed();
        println!("\n{} / {}", self.name, case.case);
        for (name, value) in &case.figures {
            let most = case.reach.iter().find(|(reach, _)| reach == name);
            let verdict = match most {
                Some((_, most)) if missed.contains(&name.as_str()) => format!("at most {most}: NOT REACHED"),
                Some((_, most)) => format!("at most {most}: reached"),
                None => String::new(),
            };
            println!("  {name:<24} {:>14}  {verdict}", shown(value));
        }
        for (peer, figures) in &case.peers {
            println!("  beside it, {peer}: {}", shown(figures));
        }
        self.cases.push(case);
    }

    /// Prints the JSON object.
    pub(crate) fn print(&self) -> Result<()> {
        let cases: Vec<Value> = self
            .cases
            .iter()
            .map(|case| {
                let reach: Map<String, Value> =
                    case.reach.iter().map(|(name, most)| ((*name).to_owned(), json!(most))).collect();
                json!({
                    "case": case.case,
                    "figures": case.figures,
                    "peers": case.peers,
                    "reach": reach,
                    "holds": case.missed().is_empty(),
                })
            })
            .collect();
        println!("{}", serde_json::to_string(&json!({ "bench": self.name, "cases": cases }))?);
        Ok(())
    }
}

/// Figures by name.
pub(crate) fn figures<const N: usize>(figures: [(&str, Value); N]) -> Map<String, Value> {
    figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The median of some measurements; null when there are none.
pub(crate) fn median(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).map_or(Value::Null, |median| rounded(*median))
}

/// A figure with three digits after the point: more would only be noise.
pub(crate) fn rounded(value: f64) -> Value {
    json!((value * 1_000.0).round() / 1_000.0)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(figures) => figures
            .iter()
            .map(|(name, value)| format!("{name} {}", shown(value)))
            .collect::<Vec<_>>()
            .join(", "),
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => value.to_string(),
    }
}
