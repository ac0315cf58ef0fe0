//! What other nodes say, and what anybody in the network can announce.

use keepwatch_announce::Message;
use keepwatch_recording::peer::{Backup, Check, Contents, Hello, Register, Restore, Restored, Superseded};

/// The bytes as each thing that a node says to another.
pub(crate) fn said(data: &[u8]) {
    if let Ok(hello) = serde_json::from_slice::<Hello>(data) {
        let again = serde_json::to_vec(&hello).expect("what was said can be said again");
        assert_eq!(serde_json::from_slice::<Hello>(&again).expect("it is understood"), hello);
        let _ = hello.version();
    }
    if let Ok(check) = serde_json::from_slice::<Check>(data) {
        let again = serde_json::to_vec(&check).expect("what was said can be said again");
        assert_eq!(serde_json::from_slice::<Check>(&again).expect("it is understood"), check);
        if let Ok(report) = check.report(check.role) {
            assert_eq!(report.cameras.len(), check.cameras.len());
        }
    }
    let _ = serde_json::from_slice::<Register>(data);
    let _ = serde_json::from_slice::<Superseded>(data);
    if let Ok(restored) = serde_json::from_slice::<Restored>(data) {
        let again = serde_json::to_vec(&restored).expect("what was said can be said again");
        assert_eq!(serde_json::from_slice::<Restored>(&again).expect("it is understood"), restored);
    }
    for backup in [
        serde_json::from_slice::<Backup>(data).ok(),
        serde_json::from_slice::<Restore>(data).ok().map(|restore| restore.backup),
    ] {
        let _ = backup.map(|backup| backup.open());
    }
    // Behind the digest, which nobody finds by chance.
    if let Ok(contents) = serde_json::from_slice::<Contents>(data)
        && let Ok(backup) = Backup::of(&contents)
    {
        let opened = backup.open().expect("a backup that was made can be opened");
        assert_eq!(opened.differences(&opened), []);
        keepwatch_app::decode_untrusted_backup(&opened);
    }
}

/// The bytes as footage that another recorder sends.
pub(crate) fn records(data: &[u8]) {
    keepwatch_app::decode_untrusted_records(data);
}

/// The bytes as a datagram of multicast DNS.
pub(crate) fn announcement(data: &[u8]) {
    let Ok(message) = Message::read(data) else { return };
    let written = message.write();
    // Names that were shortened are written out, and may be too long then.
    if let Ok(again) = Message::read(&written) {
        assert_eq!(again, message);
    }
}
