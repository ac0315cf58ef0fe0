//! Who may watch what at the moment. Pure; a changed configuration makes a new one.

use std::collections::BTreeSet;

use keepwatch_model::CameraId;

use crate::config::{RtspUser, Secret};

/// The users of the RTSP server and the cameras there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    users: Vec<RtspUser>,
    cameras: BTreeSet<CameraId>,
}

/// Somebody who logged in: a right is held by who knows the password that holds at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Viewer {
    name: String,
    password: Secret,
}

impl Access {
    /// The access of `users` to `cameras`.
    pub(crate) const fn new(users: Vec<RtspUser>, cameras: BTreeSet<CameraId>) -> Self {
        Self { users, cameras }
    }

    /// The password of a user; `None` when there is none of that name.
    pub(crate) fn password(&self, name: &str) -> Option<Secret> {
        self.user(name).map(|user| user.password.clone())
    }

    /// The viewer of that name, if there is one and `camera` may be watched by it.
    pub(crate) fn admit(&self, name: &str, camera: CameraId) -> Option<Viewer> {
        let user = self.user(name)?;
        let viewer = Viewer { name: name.to_owned(), password: user.password.clone() };
        self.holds(&viewer, camera).then_some(viewer)
    }

    /// Whether `viewer` may still watch `camera`.
    pub(crate) fn holds(&self, viewer: &Viewer, camera: CameraId) -> bool {
        let user = self.user(&viewer.name).filter(|user| user.password == viewer.password);
        self.cameras.contains(&camera) && user.is_some_and(|user| user.cameras.contains(camera))
    }

    fn user(&self, name: &str) -> Option<&RtspUser> {
        self.users.iter().find(|user| user.user == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CameraSet;

    fn id(text: &str) -> CameraId {
        text.parse().unwrap()
    }

    fn access(password: &str, cameras: CameraSet) -> Access {
        let user = RtspUser { user: "guard".to_owned(), password: password.into(), cameras };
        Access::new(vec![user], BTreeSet::from([id("gate"), id("yard")]))
    }

    #[test]
    fn a_user_sees_the_cameras_of_the_list_and_no_others() {
        let only = access("p", CameraSet::Only(BTreeSet::from([id("gate"), id("gone")])));
        assert!(only.admit("guard", id("gate")).is_some());
        for refused in ["yard", "gone", "never"] {
            assert_eq!(only.admit("guard", id(refused)), None, "{refused}");
        }
        assert_eq!(only.admit("nobody", id("gate")), None);
        assert_eq!(access("p", CameraSet::All).admit("guard", id("never")), None);
        assert!(access("p", CameraSet::All).admit("guard", id("yard")).is_some());
    }

    #[test]
    fn a_right_ends_with_the_user_the_camera_and_the_password() {
        let before = access("p", CameraSet::All);
        let viewer = before.admit("guard", id("gate")).unwrap();
        assert!(before.holds(&viewer, id("gate")));
        assert!(!access("other", CameraSet::All).holds(&viewer, id("gate")));
        assert!(!access("p", CameraSet::Only(BTreeSet::from([id("yard")]))).holds(&viewer, id("gate")));
        assert!(!Access::default().holds(&viewer, id("gate")));
    }
}
