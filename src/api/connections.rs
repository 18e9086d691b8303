//! Connections: bounded in number, and none may be idle, or take nothing of its answers, for long.
//! Where there are too many, the one that has been so for longest makes room.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// How long a connection may be open without a request under way: before its first one, after its
/// last one, or speaking only the protocol.
const IDLE: Duration = Duration::from_secs(20);

/// How long a connection may take nothing of an answer that is there.
const STALLED: Duration = Duration::from_secs(60);

/// After which one that takes nothing makes room for another.
const MAKES_ROOM: Duration = Duration::from_secs(5);

/// All connections.
pub struct Connections {
    begun: Instant,
    most: usize,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
}

/// One connection.
pub struct Connection {
    /// Requests under way, their answers' bodies included.
    under_way: AtomicU32,
    /// Answers that are there and not taken yet.
    answering: AtomicU32,
    /// Bytes are there for it that it does not take now.
    stuck: AtomicBool,
    /// Milliseconds since the door opened at which something was written to it last.
    written: AtomicU64,
    /// Milliseconds since the door opened at which it last became idle.
    idle_since: AtomicU64,
    /// Told to close.
    close: Notify,
}

/// A connection's place, until it is dropped.
pub struct Open {
    all: Arc<Connections>,
    number: u64,
    pub connection: Arc<Connection>,
}

/// A request under way, until it is dropped.
pub struct UnderWay {
    all: Arc<Connections>,
    connection: Arc<Connection>,
}

impl Connections {
    /// Room for so many.
    pub fn new(most: usize) -> Arc<Self> {
        let (begun, next, open) = (Instant::now(), AtomicU64::new(0), Mutex::default());
        Arc::new(Self { begun, most: most.max(1), next, open })
    }

    /// A place for a connection; the one that has been idle for longest makes room for it. None: all
    /// have requests under way.
    pub fn open(self: &Arc<Self>) -> Option<Open> {
        let mut open = self.lock();
        if open.len() >= self.most {
            let now = self.now();
            let spare = open.iter().filter(|(_, c)| {
                c.is_idle() || (c.is_stuck() && now.saturating_sub(c.moved()) >= millis(MAKES_ROOM))
            });
            let longest = spare.min_by_key(|(_, c)| (!c.is_idle(), c.moved()));
            let longest = longest.map(|(number, _)| *number)?;
            if let Some(connection) = open.remove(&longest) {
                connection.close.notify_one();
            }
        }
        let connection = Arc::new(Connection {
            under_way: AtomicU32::new(0),
            answering: AtomicU32::new(0),
            stuck: AtomicBool::new(false),
            written: AtomicU64::new(self.now()),
            idle_since: AtomicU64::new(self.now()),
            close: Notify::new(),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        open.insert(number, connection.clone());
        Some(Open { all: self.clone(), number, connection })
    }

    fn now(&self) -> u64 {
        millis(self.begun.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Acquire) == 0
    }

    fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Acquire) > 0
    }

    /// Whether an answer cannot go on because the client takes nothing of it. One that has only
    /// nothing to say just now, as a stream of a quiet case, is not.
    fn is_stuck(&self) -> bool {
        self.is_answering() && self.stuck.load(Ordering::Acquire)
    }

    /// When something happened on it last.
    fn moved(&self) -> u64 {
        self.idle_since.load(Ordering::Relaxed).max(self.written.load(Ordering::Relaxed))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Open {
    /// What came of writing to it.
    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        self.connection.stuck.store(written.is_pending(), Ordering::Release);
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.connection.written.store(self.all.now(), Ordering::Relaxed);
        }
    }

    /// A request is under way.
    pub fn request(&self) -> UnderWay {
        self.connection.under_way.fetch_add(1, Ordering::AcqRel);
        UnderWay { all: self.all.clone(), connection: self.connection.clone() }
    }

    /// Waits until it has to be closed: idle or stalled for too long, or to make room.
    pub async fn has_to_close(&self) {
        loop {
            let still = self.all.now().saturating_sub(self.connection.moved());
            let still = Duration::from_millis(still);
            let most = match (self.connection.is_idle(), self.connection.is_answering()) {
                (true, _) => Some(IDLE),
                (false, true) => Some(STALLED),
                // it waits for us
                (false, false) => None,
            };
            let left = match most {
                Some(most) if still >= most => return,
                Some(most) => most - still,
                None => IDLE,
            };
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = self.connection.close.notified() => return,
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.all.lock().remove(&self.number);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.connection.idle_since.store(self.all.now(), Ordering::Relaxed);
        self.connection.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer's body that keeps its request under way until it is through.
pub struct Answering {
    body: Body,
    under_way: UnderWay,
}

impl Answering {
    /// The body of the answer to a request.
    pub fn body(body: Body, under_way: UnderWay) -> Body {
        // from here on it is the client that has to take it
        under_way.connection.written.store(under_way.all.now(), Ordering::Relaxed);
        under_way.connection.answering.fetch_add(1, Ordering::AcqRel);
        Body::new(Self { body, under_way })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.under_way.connection.answering.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection's stream, which tells when something is written to it.
pub struct Watched<S> {
    stream: S,
    open: Arc<Open>,
}

impl<S> Watched<S> {
    /// A stream whose writes are told.
    pub fn new(stream: S, open: Arc<Open>) -> Self {
        Self { stream, open }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.open.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.open.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_connections_make_room() {
        let all = Connections::new(2);
        let busy = all.open().unwrap();
        let request = busy.request();
        let idle = all.open().unwrap();
        let third = all.open().unwrap();
        idle.has_to_close().await;
        drop(idle);
        let other = third.request();
        assert!(all.open().is_none(), "all have requests under way");
        drop((request, other));
        assert!(all.open().is_some());
    }

    #[tokio::test]
    async fn who_takes_nothing_of_an_answer_makes_room() {
        let begun = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        let (next, open) = (AtomicU64::new(0), Mutex::default());
        let all = Arc::new(Connections { begun, most: 1, next, open });
        let one = all.open().unwrap();
        let waits = one.request();
        one.connection.idle_since.store(0, Ordering::Relaxed);
        one.connection.written.store(0, Ordering::Relaxed);
        assert!(all.open().is_none(), "it waits for us");
        let answer = Answering::body(Body::from("x"), waits);
        assert!(all.open().is_none(), "it has had no time yet");
        one.connection.written.store(0, Ordering::Relaxed);
        assert!(all.open().is_none(), "there is nothing to take just now");
        one.wrote(&Poll::Pending);
        one.has_to_close().await;
        assert!(all.open().is_some());
        drop(answer);
    }
}
