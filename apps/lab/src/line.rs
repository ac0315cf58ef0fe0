//! A line that is cut on command: what one program sends to another goes through here.
//!
//! While it is cut nothing passes in either direction and nobody is told, as when a cable is pulled: connections stand, new ones
//! are not answered, and whoever waits for something waits. When it is healed, what stood goes on.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::debug;

use crate::LabError;
use crate::control::{ControlSocket, Obeys};
use crate::ending::{Ending, Endings, say};
use crate::wide;

/// Connections at a time: two nodes have three or four between them.
const CONNECTIONS_MAX: usize = 64;
/// Calls that wait while it is cut; more are not answered at all, as on any dead line.
const BACKLOG: u32 = 16;
/// What is on its way in one direction of a connection.
const CHUNK_BYTES: usize = 64 * 1024;

/// What `keepwatch lab line` runs.
#[derive(Clone, Debug)]
pub struct LineOptions {
    /// Where it begins.
    pub listen: SocketAddr,
    /// Where it leads.
    pub to: SocketAddr,
    /// Where to make the control socket; `None` for none.
    pub control: Option<PathBuf>,
    /// Whether to end when standard input does.
    pub until_input_closes: bool,
    /// How long to run; `None` for until told to end.
    pub lasts: Option<Duration>,
}

/// The line printed when it can be used.
#[derive(Debug, Serialize)]
struct Ready {
    /// Where it begins.
    listening: SocketAddr,
}

/// The line printed at the end.
#[derive(Debug, Serialize)]
struct Ended {
    ended: Ending,
    line: LineReport,
}

/// What went through a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct LineReport {
    /// Nothing passes.
    cut: bool,
    /// Connections that were taken since the start.
    connections: u64,
    /// Bytes that went from where it begins to where it leads.
    there_bytes: u64,
    /// Bytes that came back.
    back_bytes: u64,
}

/// Runs a line until a signal, printing `{"listening": "ADDR:PORT"}` when it can be used, and at the end what went through it.
pub async fn run_line(options: LineOptions) -> Result<(), LabError> {
    run(options, &mut io::stdout()).await
}

async fn run(options: LineOptions, output: &mut (impl Write + Send)) -> Result<(), LabError> {
    let mut endings = Endings::listen(options.until_input_closes, options.lasts)?;
    let control = options.control.as_deref().map(ControlSocket::bind).transpose()?;
    let listener =
        listen(options.listen).map_err(|source| LabError::Listen { addr: options.listen, source })?;
    say(output, &Ready { listening: listener.local_addr()? })?;
    let line = Arc::new(Line::new(options.to));
    let obeying = async {
        match &control {
            Some(control) => control.serve(Arc::clone(&line)).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = endings.wait() => ended,
        error = obeying => return Err(error.into()),
        error = Arc::clone(&line).serve(&listener) => return Err(error.into()),
    };
    say(output, &Ended { ended, line: line.report() })?;
    Ok(())
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // One that is started again is found where it was.
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// A line, whoever holds it.
struct Line {
    to: SocketAddr,
    open: watch::Sender<bool>,
    connections: AtomicU64,
    there_bytes: AtomicU64,
    back_bytes: AtomicU64,
}

impl Line {
    fn new(to: SocketAddr) -> Self {
        let (open, _) = watch::channel(true);
        let zero = || AtomicU64::new(0);
        Self { to, open, connections: zero(), there_bytes: zero(), back_bytes: zero() }
    }

    fn report(&self) -> LineReport {
        LineReport {
            cut: !*self.open.borrow(),
            connections: self.connections.load(Ordering::Relaxed),
            there_bytes: self.there_bytes.load(Ordering::Relaxed),
            back_bytes: self.back_bytes.load(Ordering::Relaxed),
        }
    }

    /// Takes connections until dropped.
    async fn serve(self: Arc<Self>, listener: &TcpListener) -> io::Error {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut carried = JoinSet::new();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return io::Error::other("the semaphore of the line was closed");
            };
            self.is_open().await;
            let near = match listener.accept().await {
                Ok((near, _)) => near,
                Err(error) => return error,
            };
            while carried.try_join_next().is_some() {}
            let line = Arc::clone(&self);
            carried.spawn(async move {
                if let Err(error) = line.carry(near).await {
                    debug!(%error, "a connection over the line broke");
                }
                drop(place);
            });
        }
    }

    /// Carries one connection, both directions of it, until both have ended or one broke.
    async fn carry(&self, mut near: TcpStream) -> io::Result<()> {
        self.is_open().await;
        let mut far = TcpStream::connect(self.to).await?;
        self.connections.fetch_add(1, Ordering::Relaxed);
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
        let there = self.pass(near_in, far_out, &self.there_bytes);
        let back = self.pass(far_in, near_out, &self.back_bytes);
        tokio::try_join!(there, back)?;
        Ok(())
    }

    async fn pass(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        passed: &AtomicU64,
    ) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = from.read(&mut chunk).await?;
            self.is_open().await;
            // That one side has ended is told the other over the line, too.
            let Some(some) = chunk.get(..length).filter(|some| !some.is_empty()) else {
                return to.shutdown().await;
            };
            to.write_all(some).await?;
            passed.fetch_add(wide(length), Ordering::Relaxed);
        }
    }

    /// Waits until something passes.
    async fn is_open(&self) {
        // It never ends: the sender is in this line.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

impl Obeys for Line {
    async fn obey(&self, line: &str) -> Result<Value, String> {
        let command: Map<String, Value> = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if command.contains_key("report") {
            return Ok(json!({ "ok": true, "line": self.report() }));
        }
        match command.get("line").and_then(Value::as_str) {
            Some("cut") => self.open.send_replace(false),
            Some("heal") => self.open.send_replace(true),
            _ => return Err("a line can be \"cut\" or \"heal\"ed".to_owned()),
        };
        Ok(json!({ "ok": true }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for anything that is on its way over loopback.
    const WHILE: Duration = Duration::from_millis(200);

    /// Answers with what it is sent.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.unwrap();
                });
            }
        });
        address
    }

    fn line_to(to: SocketAddr) -> (Arc<Line>, SocketAddr) {
        let line = Arc::new(Line::new(to));
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&line);
        tokio::spawn(async move { serving.serve(&listener).await });
        (line, address)
    }

    async fn says(stream: &mut TcpStream, text: &[u8]) -> Vec<u8> {
        stream.write_all(text).await.unwrap();
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn what_is_sent_over_a_cut_line_arrives_when_it_is_healed_and_not_before() {
        let (line, address) = line_to(echo().await);
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(says(&mut stream, b"before").await, b"before");
        assert_eq!(line.obey(r#"{"line":"cut"}"#).await.unwrap(), json!({"ok": true}));
        let mut called = TcpStream::connect(address).await.unwrap();
        let both = async { tokio::join!(says(&mut stream, b"meanwhile"), says(&mut called, b"new")) };
        tokio::pin!(both);
        assert!(tokio::time::timeout(WHILE, &mut both).await.is_err(), "nothing passes");
        let report = line.obey(r#"{"report":"line"}"#).await.unwrap();
        assert_eq!((&report["line"]["cut"], &report["line"]["there_bytes"]), (&json!(true), &json!(6)));
        line.obey(r#"{"line":"heal"}"#).await.unwrap();
        assert_eq!(both.await, (b"meanwhile".to_vec(), b"new".to_vec()));
        let report = line.report();
        assert_eq!((report.cut, report.connections, report.back_bytes), (false, 2, 18));
    }

    #[tokio::test]
    async fn the_end_of_one_side_is_told_the_other() {
        let (_, address) = line_to(echo().await);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"all").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"all");
    }

    #[tokio::test]
    async fn where_nobody_answers_the_connection_ends() {
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_, address) = line_to(nobody.local_addr().unwrap());
        drop(nobody);
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut answer = Vec::new();
        // Reset or closed: either way it is over.
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"");
    }

    #[tokio::test]
    async fn other_commands_are_refused() {
        let line = Line::new("127.0.0.1:1".parse().unwrap());
        for command in ["", "[]", "{}", r#"{"line":"burn"}"#, r#"{"line":1}"#, r#"{"site":"cut"}"#] {
            assert!(line.obey(command).await.is_err(), "{command}");
        }
    }
}
