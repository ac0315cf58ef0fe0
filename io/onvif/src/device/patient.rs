//! What one client may take of a server: a share of its connections, and some time for reading what it is sent.
//!
//! HTTP bounds how long a request may take to arrive. Who asks and then does not read would hold a connection for ever.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection that fails when its other end takes nothing for a time.
pub(super) struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Ends when the patience does; `None` while writing goes on.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// `stream`, whose other end may take nothing for as long as `patience`.
    pub(super) const fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, stalled: None }
    }

    /// What comes of an attempt to write that came to `progress`.
    fn within_patience<T>(
        &mut self,
        context: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.within_patience(context, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.within_patience(context, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_flush(context);
        self.within_patience(context, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_shutdown(context);
        self.within_patience(context, progress)
    }
}

/// How many connections each client has.
#[derive(Clone, Default)]
pub(super) struct Peers(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

impl Peers {
    /// A connection of `peer`; `None` when it has `max` already.
    pub(super) fn admit(&self, peer: IpAddr, max: usize) -> Option<Admitted> {
        let peer = peer.to_canonical();
        let mut peers = self.locked();
        let open = peers.entry(peer).or_default();
        if *open >= max {
            return None;
        }
        *open = open.saturating_add(1);
        Some(Admitted { peers: self.clone(), peer })
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        // A number is never half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that counts for its client until it is dropped.
pub(super) struct Admitted {
    peers: Peers,
    peer: IpAddr,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut peers = self.peers.locked();
        let open = peers.get(&self.peer).copied().unwrap_or_default().saturating_sub(1);
        // Those that have none are not kept, so that there are no more than connections.
        if open == 0 {
            peers.remove(&self.peer);
        } else {
            peers.insert(self.peer, open);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_left_after_a_time() {
        let (near, _far) = duplex(1024);
        let mut patient = Patient::new(near, PATIENCE);
        let begun = Instant::now();
        let error = patient.write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_gets_everything() {
        let (near, mut far) = duplex(1024);
        let mut patient = Patient::new(near, PATIENCE);
        let reading = tokio::spawn(async move {
            for _ in 0..4 {
                sleep(PATIENCE * 2 / 3).await;
                far.read_exact(&mut [0; 1024]).await.unwrap();
            }
        });
        patient.write_all(&[0; 4096]).await.unwrap();
        reading.await.unwrap();
    }

    #[test]
    fn each_client_has_a_share_of_its_own() {
        let peers = Peers::default();
        let (one, other): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let held: Vec<_> = (0..2).map(|_| peers.admit(one, 2).unwrap()).collect();
        assert!(peers.admit(one, 2).is_none());
        assert!(peers.admit("::ffff:192.0.2.1".parse().unwrap(), 2).is_none(), "it is the same client");
        assert!(peers.admit(other, 2).is_some());
        drop(held);
        assert!(peers.admit(one, 2).is_some());
        assert!(peers.locked().is_empty());
    }
}
