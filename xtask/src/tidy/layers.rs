//! The arrows between the layers: core decides, io does, apps join; core and io never see each other, except for
//! the words of `core/model` and the formats of `core/media`.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, PackageId};

use super::Problem;
use crate::workspace::Workspace;

/// Programs and runtimes that have no place below a core crate.
const EFFECTS: [&str; 5] = ["tokio", "mio", "socket2", "rusqlite", "getrandom"];

pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (package, folder) in workspace.members() {
        let manifest = format!("{folder}/Cargo.toml");
        for dependency in &package.dependencies {
            let Some(path) = &dependency.path else { continue };
            let to = path.strip_prefix(&workspace.metadata.workspace_root).unwrap_or(path).as_str();
            if !allowed(&folder, to) {
                problems.push(Problem::new(
                    &manifest,
                    0,
                    format!("{folder} must not depend on {to}: the arrows are in ARCHITECTURE.md"),
                ));
            }
        }
        if folder.starts_with("core/") {
            for name in below(workspace, &package.id) {
                if EFFECTS.contains(&name.as_str()) {
                    problems.push(Problem::new(
                        &manifest,
                        0,
                        format!("{folder} depends on {name}, by one way or another; core has no effects"),
                    ));
                }
            }
        }
    }
    problems
}

/// Whether a crate in the folder `from` may depend on the one in `to`.
fn allowed(from: &str, to: &str) -> bool {
    let words = to == "core/model";
    let formats = to == "core/media";
    let core = to.starts_with("core/");
    let io = to.starts_with("io/");
    match from.split_once('/') {
        Some(("core", "recording" | "sip")) => words || formats,
        Some(("core", _)) => words,
        // A LUN is one of the places where the store writes.
        Some(("io", "store")) => words || formats || to == "io/iscsi",
        // TLS is shared by all that speak it; `io/tls` itself imports no other.
        Some(("io", _)) => words || formats || to == "io/tls",
        // Both work with the recorder beside them.
        Some(("apps", "standby" | "edge")) => core || io || to == "apps/recorder",
        Some(("apps", "keepwatch")) => core || io || to == "ui" || to.starts_with("apps/"),
        Some(("apps", _)) => core || io,
        Some(("tests", "it")) => words || formats,
        // The reader of the configuration is in the program itself.
        Some(("tests", "fuzz")) => core || io || to == "apps/keepwatch",
        Some(("tests", _)) => core || io,
        Some(_) | None => false,
    }
}

/// The names of all packages that a build of `package` links in, build scripts and tests left out.
fn below(workspace: &Workspace, package: &PackageId) -> BTreeSet<String> {
    let Some(resolve) = &workspace.metadata.resolve else { return BTreeSet::new() };
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut found = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut open = vec![package];
    while let Some(id) = open.pop() {
        let Some(node) = nodes.get(id) else { continue };
        for dependency in &node.deps {
            let linked = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            if linked && found.insert(&dependency.pkg) {
                names.insert(workspace.metadata[&dependency.pkg].name.to_string());
                open.push(&dependency.pkg);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_and_io_never_see_each_other() {
        for (from, to, may) in [
            ("core/media", "core/model", true),
            ("core/media", "core/recording", false),
            ("core/recording", "core/media", true),
            ("core/recording", "io/store", false),
            ("io/rtsp", "core/media", true),
            ("io/rtsp", "core/recording", false),
            ("io/rtsp", "io/tls", true),
            ("io/tls", "io/rtsp", false),
            ("io/store", "io/iscsi", true),
            ("io/iscsi", "io/store", false),
            ("io/web", "io/store", false),
            ("apps/recorder", "io/store", true),
            ("apps/recorder", "apps/lab", false),
            ("apps/standby", "apps/recorder", true),
            ("apps/recorder", "apps/standby", false),
            ("apps/standby", "apps/lab", false),
            ("apps/keepwatch", "apps/lab", true),
            ("apps/keepwatch", "ui", true),
            ("io/web", "ui", false),
            ("tests/it", "core/media", true),
            ("tests/it", "apps/keepwatch", false),
            ("tests/fuzz", "io/store", true),
            ("tests/fuzz", "apps/keepwatch", true),
            ("tests/fuzz", "apps/lab", false),
            ("xtask", "core/model", false),
        ] {
            assert_eq!(allowed(from, to), may, "{from} -> {to}");
        }
    }
}
