//! The table of routes: each stands beside the rule that says who may ask for it, and cannot be made without one.
//!
//! The rule is kept before the handler runs. Where the path names the camera, that is all; where a body or an object
//! does, the handler asks [`Caller`](crate::Caller) at the place where the bytes are read.

use axum::Router;
use axum::extract::{RawPathParams, Request};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::{Identity, Problem, Role};

/// Who may ask for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a login.
    Open,
    /// Every user; what they are shown is their own, or filtered by what they may see.
    User,
    /// Users with this role at some camera or everywhere; what they are shown is filtered.
    Anywhere(Role),
    /// Users with this role everywhere.
    Everywhere(Role),
    /// Users with this role at the camera that the path names as `{id}`.
    Camera(Role),
    /// Users with this role at the cameras that the body or the object concerns; the handler asks.
    Object(Role),
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The method; GET stands for HEAD, too.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Who may ask for it.
    pub access: Access,
}

/// Routes with their rules.
#[derive(Clone, Debug)]
pub struct Routes<S = ()> {
    rules: Vec<Rule>,
    router: Router<S>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// No routes.
    pub fn new() -> Self {
        Self { rules: Vec::new(), router: Router::new() }
    }

    /// Adds a route for GET and HEAD.
    #[must_use]
    pub fn get<H: Handler<T, S>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Self {
        self.add(Method::GET, path, access, on(MethodFilter::GET, handler))
    }

    /// Adds a route for POST.
    #[must_use]
    pub fn post<H: Handler<T, S>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Self {
        self.add(Method::POST, path, access, on(MethodFilter::POST, handler))
    }

    /// Adds a route for PUT.
    #[must_use]
    pub fn put<H: Handler<T, S>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Self {
        self.add(Method::PUT, path, access, on(MethodFilter::PUT, handler))
    }

    /// Adds a route for DELETE.
    #[must_use]
    pub fn delete<H: Handler<T, S>, T: 'static>(
        self,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self {
        self.add(Method::DELETE, path, access, on(MethodFilter::DELETE, handler))
    }

    /// Adds all of `other`.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.rules.extend(other.rules);
        self.router = self.router.merge(other.router);
        self
    }

    /// Gives the handlers their state.
    pub fn with_state<T>(self, state: S) -> Routes<T> {
        Routes { rules: self.rules, router: self.router.with_state(state) }
    }

    /// The rules of all routes.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    fn add(mut self, method: Method, path: &'static str, access: Access, handler: MethodRouter<S>) -> Self {
        // A path that names a camera is asked for by who may see that camera, or is for those who may everywhere.
        let fits = match access {
            Access::Camera(_) => path.contains("/cameras/{id}"),
            Access::Everywhere(_) => true,
            Access::Open | Access::User | Access::Anywhere(_) | Access::Object(_) => {
                !path.contains("/cameras/{id}")
            }
        };
        assert!(fits, "{path} and {access:?} do not fit");
        let keep =
            move |params: RawPathParams, request: Request, next: Next| keep(access, params, request, next);
        // `route_layer`: a method that there is not is answered with 405, whoever asks.
        self.router = self.router.route(path, handler.route_layer(from_fn(keep)));
        self.rules.push(Rule { method, path, access });
        self
    }
}

impl Routes {
    /// Takes table and router apart.
    pub(crate) fn into_parts(self) -> (Vec<Rule>, Router) {
        (self.rules, self.router)
    }
}

/// Passes a request on when the rule of its route allows it.
async fn keep(
    access: Access,
    params: RawPathParams,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if access != Access::Open {
        // The gate lets nobody without one pass to such a route.
        let identity = request
            .extensions()
            .get::<Identity>()
            .ok_or_else(|| Problem::internal("the route does not know who calls"))?;
        match access {
            Access::Open | Access::User => {}
            Access::Anywhere(role) | Access::Object(role) => identity.require_anywhere(role)?,
            Access::Everywhere(role) => identity.require(role)?,
            Access::Camera(role) => {
                let camera = params.iter().find(|(name, _)| *name == "id").map_or("", |(_, value)| value);
                identity.require_at(camera, role)?;
            }
        }
    }
    Ok(next.run(request).await)
}
