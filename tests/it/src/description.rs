//! The description that the program gives of its API (`keepwatch openapi`), read for the routes in it: who tries them
//! all finds a new one by itself.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::Site;

/// The whole description.
#[derive(Clone, Debug)]
pub struct Description(Value);

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The method, in capitals.
    pub method: String,
    /// The path, with its parameters in braces.
    pub path: String,
    /// The names of the parameters in its query.
    pub query: Vec<String>,
    /// The shape of the body that it takes.
    pub body: Option<Value>,
    /// The statuses that it is described to answer with.
    pub statuses: Vec<String>,
}

impl Description {
    /// What the program of `site` says.
    pub fn read(site: &Site) -> Result<Self> {
        Ok(Self(serde_json::from_str(&site.run(["openapi"])?.success()?)?))
    }

    /// Every route.
    pub fn routes(&self) -> Result<Vec<Route>> {
        let paths = self.0["paths"].as_object().context("it has no paths")?;
        let mut routes = Vec::new();
        for (path, methods) in paths {
            for (method, told) in methods.as_object().with_context(|| path.clone())? {
                let parameters = told["parameters"].as_array().into_iter().flatten();
                let query = parameters.filter(|told| told["in"] == "query");
                let body = &told["requestBody"]["content"]["application/json"]["schema"];
                routes.push(Route {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    query: query.filter_map(|told| told["name"].as_str().map(str::to_owned)).collect(),
                    body: body["$ref"].as_str().map(|name| self.shape(name)).transpose()?,
                    statuses: told["responses"]
                        .as_object()
                        .into_iter()
                        .flatten()
                        .map(|(key, _)| key.clone())
                        .collect(),
                });
            }
        }
        Ok(routes)
    }

    /// The shape that `reference` names.
    fn shape(&self, reference: &str) -> Result<Value> {
        let pointer = reference.strip_prefix('#').with_context(|| reference.to_owned())?;
        self.0.pointer(pointer).cloned().with_context(|| format!("{reference} is not described"))
    }
}
