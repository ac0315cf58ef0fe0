//! An iSCSI target of Debian's tgt for tests: on a port and a control socket of its own, over a file in a directory of its own,
//! ended by its own process id. Other crates' tests use this file, too.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The target's name.
pub(crate) const NAME: &str = "iqn.2024-07.internal.keepwatch-test:nas";
/// Longest wait for it to begin.
const BEGINS_MAX: Duration = Duration::from_secs(20);

/// Who may log in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    /// The name.
    pub(crate) user: &'static str,
    /// The password.
    pub(crate) password: &'static str,
    /// It is the target that shows it.
    pub(crate) outgoing: bool,
}

/// A target that runs, or has been stopped for a while.
#[derive(Debug)]
pub(crate) struct Target {
    directory: tempfile::TempDir,
    port: u16,
    accounts: Vec<Account>,
    pub(crate) child: Option<Child>,
}

impl Target {
    /// One with a LUN 1 of `size_bytes` that everybody may use.
    pub(crate) fn start(size_bytes: u64) -> Self {
        Self::with_accounts(size_bytes, &[])
    }

    /// The same for those of `accounts` only.
    pub(crate) fn with_accounts(size_bytes: u64, accounts: &[Account]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut target = Self { directory, port: 0, accounts: accounts.to_vec(), child: None };
        target.resize(size_bytes);
        target.run();
        target
    }

    /// The address of its LUN for the user of an account, or for everybody.
    pub(crate) fn address(&self, user: Option<&str>) -> String {
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        format!("iscsi://{user}127.0.0.1:{}/{NAME}/1", self.port)
    }

    /// The file behind its LUN.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("lun")
    }

    /// Changes the size of the file behind its LUN; taken up at the next start.
    pub(crate) fn resize(&self, size_bytes: u64) {
        let file = File::options().write(true).create(true).truncate(false).open(self.file());
        file.and_then(|file| file.set_len(size_bytes)).expect("the file of the LUN");
    }

    /// Starts it, for the first time or again, at the same port.
    pub(crate) fn run(&mut self) {
        let begun = Instant::now();
        loop {
            let port = if self.port == 0 { free_port() } else { self.port };
            let portal = format!("portal=127.0.0.1:{port}");
            let mut child = Command::new("/usr/sbin/tgtd")
                .args(["-f", "--iscsi", &portal])
                .env("TGT_IPC_SOCKET", self.socket())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("Debian's tgt is installed");
            while child.try_wait().expect("the state of tgtd").is_none() {
                if self.administer(&["--mode", "target", "--op", "show"]) {
                    self.port = port;
                    self.child = Some(child);
                    return self.configure();
                }
                assert!(begun.elapsed() < BEGINS_MAX, "tgtd does not begin");
                std::thread::yield_now();
            }
            // Somebody took the port in between, or holds it still.
            assert!(begun.elapsed() < BEGINS_MAX, "tgtd ends at once");
            std::thread::yield_now();
        }
    }

    /// Ends it as a power failure would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It does not end when it is asked to.
            child.kill().expect("tgtd is our child");
            child.wait().expect("tgtd is our child");
        }
    }

    fn configure(&self) {
        let file = self.file();
        let file = file.to_str().expect("a path of text");
        self.must(&["--mode", "target", "--op", "new", "--tid", "1", "-T", NAME]);
        self.must(&["--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "-b", file]);
        for account in &self.accounts {
            let login = ["--user", account.user, "--password", account.password];
            self.must(&[&["--mode", "account", "--op", "new"], &login[..]].concat());
            let mut bind = vec!["--mode", "account", "--op", "bind", "--tid", "1", "--user", account.user];
            bind.extend(account.outgoing.then_some("--outgoing"));
            self.must(&bind);
        }
        self.must(&["--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL"]);
    }

    fn must(&self, arguments: &[&str]) {
        assert!(self.administer(arguments), "tgtadm {arguments:?}");
    }

    fn administer(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new("/usr/sbin/tgtadm");
        command.args(["--lld", "iscsi"]).args(arguments).env("TGT_IPC_SOCKET", self.socket());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn socket(&self) -> PathBuf {
        Path::new(self.directory.path()).join("control")
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
