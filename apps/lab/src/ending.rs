//! How a lab that runs as its own process ends, and how it speaks: in JSON lines.

use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Why a process of the lab ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// SIGTERM or SIGINT.
    Signal,
    /// Standard input was closed: whoever started it is gone.
    InputClosed,
    /// It had run as long as it was to.
    TimeOver,
}

/// What a process of the lab waits for.
#[derive(Debug)]
pub(crate) struct Endings {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    input: Option<oneshot::Receiver<()>>,
    lasts: Option<Duration>,
}

impl Endings {
    /// Listens for signals from here on, and when `watch_input` for the end of standard input.
    pub(crate) fn listen(watch_input: bool, lasts: Option<Duration>) -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let input = if watch_input { Some(input_closed()?) } else { None };
        Ok(Self { terminate, interrupt, input, lasts })
    }

    /// Waits for the first of them.
    pub(crate) async fn wait(&mut self) -> Ending {
        let Self { terminate, interrupt, input, lasts } = self;
        let input = async {
            match input {
                Some(input) => input.await.unwrap_or(()),
                None => std::future::pending().await,
            }
        };
        let time = async {
            match lasts {
                Some(lasts) => tokio::time::sleep(*lasts).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => Ending::Signal,
            _ = interrupt.recv() => Ending::Signal,
            () = input => Ending::InputClosed,
            () = time => Ending::TimeOver,
        }
    }
}

/// Tells when standard input ends. A thread of its own, because a blocked read would keep a runtime from ending.
fn input_closed() -> io::Result<oneshot::Receiver<()>> {
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name("lab-input".to_owned()).spawn(move || {
        let mut scratch = [0; 256];
        let mut input = io::stdin().lock();
        loop {
            match input.read(&mut scratch) {
                Ok(0) => break,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                Ok(_) | Err(_) => {}
            }
        }
        // Nobody waits any more when the process is ending anyway.
        let _ = tell.send(());
    })?;
    Ok(told)
}

/// Writes one JSON line and has it on its way.
pub(crate) fn say(output: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string(line).map_err(io::Error::other)?;
    text.push('\n');
    output.write_all(text.as_bytes())?;
    output.flush()
}
