//! Roles, and what a user is granted where. Pure.

use std::collections::BTreeMap;
use std::fmt;

use keepwatch_model::CameraId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a user may do; each role may do all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Live pictures, the newest picture, coverage and the state of a camera.
    Viewer,
    /// Footage of the past: playback, pictures, exports, protections.
    Operator,
    /// Starts and ends failovers.
    Supervisor,
    /// Everything, and only everywhere: never for one camera.
    Administrator,
}

impl Role {
    /// All roles, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Supervisor, Self::Administrator];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Supervisor => "supervisor",
            Self::Administrator => "administrator",
        })
    }
}

/// A role everywhere, and higher ones at single cameras.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// The role at every camera and at the node itself; `None` gives nothing but what `cameras` gives.
    pub role: Option<Role>,
    /// Roles at single cameras; what counts there is the higher of both.
    #[serde(default)]
    pub cameras: BTreeMap<CameraId, Role>,
}

/// What a user may, as answers show it.
#[derive(ToSchema)]
#[schema(as = Grants)]
#[expect(dead_code, reason = "it describes what `Grants` writes")]
pub(super) struct GrantsShown {
    /// The role at every camera and at the node itself; `null` gives nothing but what `cameras` gives.
    role: Option<Role>,
    /// Roles at single cameras; what counts there is the higher of both.
    #[schema(value_type = BTreeMap<String, Role>)]
    cameras: BTreeMap<CameraId, Role>,
}

impl Grants {
    /// One role everywhere.
    pub const fn everywhere(role: Role) -> Self {
        Self { role: Some(role), cameras: BTreeMap::new() }
    }

    /// The role at `camera`, a text that may name none; `None` when there is no right to know of it.
    pub fn at(&self, camera: &str) -> Option<Role> {
        let own = camera.parse::<CameraId>().ok().and_then(|id| self.cameras.get(&id)).copied();
        own.max(self.role)
    }

    /// The highest role that there is anywhere.
    pub fn anywhere(&self) -> Option<Role> {
        self.cameras.values().copied().max().max(self.role)
    }

    /// What is granted here and by `limit` as well.
    #[must_use]
    pub fn within(&self, limit: &Self) -> Self {
        // `None` is less than every role.
        let role = self.role.min(limit.role);
        let ids = self.cameras.keys().chain(limit.cameras.keys());
        let both = ids.filter_map(|id| {
            let here = self.cameras.get(id).copied().max(self.role);
            let there = limit.cameras.get(id).copied().max(limit.role);
            let least = here.min(there);
            least.filter(|_| least > role).map(|least| (*id, least))
        });
        Self { role, cameras: both.collect() }
    }

    /// Whether everything that `other` grants is granted here.
    pub fn covers(&self, other: &Self) -> bool {
        self.role >= other.role
            && other
                .cameras
                .iter()
                .all(|(id, role)| self.cameras.get(id).copied().max(self.role) >= Some(*role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(role: Option<Role>, cameras: &[(&str, Role)]) -> Grants {
        Grants { role, cameras: cameras.iter().map(|(id, role)| (id.parse().unwrap(), *role)).collect() }
    }

    #[test]
    fn the_higher_of_both_counts_at_a_camera() {
        let guard = grants(Some(Role::Viewer), &[("gate", Role::Operator)]);
        assert_eq!(guard.at("gate"), Some(Role::Operator));
        assert_eq!(guard.at("yard"), Some(Role::Viewer));
        assert_eq!(guard.at("not an id"), Some(Role::Viewer));
        assert_eq!(guard.anywhere(), Some(Role::Operator));
        let lowered = grants(Some(Role::Operator), &[("gate", Role::Viewer)]);
        assert_eq!(lowered.at("gate"), Some(Role::Operator), "a camera's role never takes anything away");
        let alone = grants(None, &[("gate", Role::Viewer)]);
        assert_eq!((alone.at("gate"), alone.at("yard"), alone.at("")), (Some(Role::Viewer), None, None));
        assert_eq!(Grants::default().anywhere(), None);
    }

    #[test]
    fn a_limit_never_adds_and_what_is_within_is_covered() {
        let samples = [
            Grants::default(),
            grants(Some(Role::Viewer), &[]),
            grants(Some(Role::Administrator), &[]),
            grants(None, &[("gate", Role::Operator), ("yard", Role::Viewer)]),
            grants(Some(Role::Viewer), &[("gate", Role::Supervisor)]),
            grants(Some(Role::Operator), &[("dock", Role::Viewer)]),
        ];
        for here in &samples {
            for limit in &samples {
                let both = here.within(limit);
                assert!(here.covers(&both) && limit.covers(&both), "{here:?} within {limit:?} is {both:?}");
                for camera in ["gate", "yard", "dock", "other"] {
                    assert_eq!(both.at(camera), here.at(camera).min(limit.at(camera)), "{camera}");
                }
                assert_eq!(both.role, here.role.min(limit.role));
            }
        }
    }

    #[test]
    fn less_at_one_camera_is_not_covered() {
        let before = grants(Some(Role::Viewer), &[("gate", Role::Operator)]);
        assert!(grants(Some(Role::Operator), &[]).covers(&before));
        assert!(!grants(Some(Role::Viewer), &[]).covers(&before));
        assert!(!grants(None, &[("gate", Role::Operator)]).covers(&before));
    }
}
