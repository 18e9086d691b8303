//! Connections: bounded in number, and none may be idle for long. Where there are too many, the one
//! that has been idle for longest makes room.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::sync::Notify;

/// How long a connection may be open without a request under way: before its first one, after its
/// last one, or speaking only the protocol.
const IDLE: Duration = Duration::from_secs(20);

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
            let idle = open.iter().filter(|(_, c)| c.under_way.load(Ordering::Acquire) == 0);
            let longest = idle.min_by_key(|(_, c)| c.idle_since.load(Ordering::Relaxed));
            let longest = longest.map(|(number, _)| *number)?;
            if let Some(connection) = open.remove(&longest) {
                connection.close.notify_one();
            }
        }
        let connection = Arc::new(Connection {
            under_way: AtomicU32::new(0),
            idle_since: AtomicU64::new(self.now()),
            close: Notify::new(),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        open.insert(number, connection.clone());
        Some(Open { all: self.clone(), number, connection })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// A request is under way.
    pub fn request(&self) -> UnderWay {
        self.connection.under_way.fetch_add(1, Ordering::AcqRel);
        UnderWay { all: self.all.clone(), connection: self.connection.clone() }
    }

    /// Waits until it has to be closed: idle for too long, or to make room.
    pub async fn has_to_close(&self) {
        loop {
            let idle = self.connection.under_way.load(Ordering::Acquire) == 0;
            let since = self.connection.idle_since.load(Ordering::Relaxed);
            let idle_for = Duration::from_millis(self.all.now().saturating_sub(since));
            let left = match idle {
                true if idle_for >= IDLE => return,
                true => IDLE - idle_for,
                false => IDLE,
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
    _under_way: UnderWay,
}

impl Answering {
    /// The body of the answer to a request.
    pub fn body(body: Body, under_way: UnderWay) -> Body {
        Body::new(Self { body, _under_way: under_way })
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
}
