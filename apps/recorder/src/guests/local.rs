//! What a guest is called here: two recorders may both have a `cam1`.

use keepwatch_model::{CameraId, RoleId};

/// Bytes of a camera's own id that are kept when it needs a mark of its recorder behind it.
const OWN_BYTES_MAX: usize = 24;

/// The id of camera `camera` of recorder `role` here: its own if none of the cameras here has it, as `taken` says; else with
/// the first digits of the role behind it, and with more of them in the case that this is taken, too. It must be kept with
/// the guest: what is free changes, and footage does not move.
pub fn local_id(camera: CameraId, role: RoleId, taken: impl Fn(CameraId) -> bool) -> CameraId {
    if !taken(camera) {
        return camera;
    }
    let digits: String = role.to_string().chars().filter(|digit| *digit != '-').collect();
    let marked = |length: usize| {
        // An id has at most 31 bytes of ASCII.
        let own = camera.as_str().get(..OWN_BYTES_MAX.min(30 - length)).unwrap_or(camera.as_str());
        let mark = digits.get(..length).unwrap_or(&digits);
        format!("{own}-{mark}").parse().ok()
    };
    let free = (6..=29).filter_map(marked).find(|local| !taken(*local));
    free.unwrap_or(camera)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: RoleId = RoleId([0xab; 16]);

    #[test]
    fn a_guest_keeps_its_id_unless_another_camera_here_has_it() {
        let camera: CameraId = "gate".parse().unwrap();
        assert_eq!(local_id(camera, ROLE, |_| false), camera);
        assert_eq!(local_id(camera, ROLE, |id| id == camera).as_str(), "gate-ababab");
        let long: CameraId = "a-camera-with-a-name-of-31-byte".parse().unwrap();
        assert_eq!(local_id(long, ROLE, |id| id == long).as_str(), "a-camera-with-a-name-of--ababab");
    }

    #[test]
    fn a_marked_id_that_is_taken_gets_a_longer_mark() {
        let camera: CameraId = "gate".parse().unwrap();
        let taken = |id: CameraId| ["gate", "gate-ababab", "gate-abababa"].contains(&id.as_str());
        assert_eq!(local_id(camera, ROLE, taken).as_str(), "gate-abababab");
    }
}
