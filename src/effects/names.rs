//! Names of hosts and their addresses, asked of the system's resolver on threads of their own: a
//! name server that is down holds up nothing but the calls to hosts that nobody knows yet.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Names that are looked up at the same time. Each takes a thread while its name server is silent.
const LOOKUPS: usize = 32;

/// How long an answer is taken as it is.
const FRESH: Duration = Duration::from_secs(30);

/// How long a name's lookup is waited for where an older answer is there.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long an answer serves while there is no newer one.
const OLD: Duration = Duration::from_secs(60 * 60);

/// Names of which the last answer is kept.
const KEPT: usize = 1000;

type Addresses = Arc<[SocketAddr]>;

/// What came of a lookup, once it did.
type Found = Option<Result<Addresses, Arc<io::Error>>>;

type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Looks names up: each once at a time, for all who ask meanwhile. The last answer is kept, and serves
/// while the name server does not.
#[derive(Clone)]
pub struct Names {
    lookup: Arc<Lookup>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    known: HashMap<String, (Addresses, Instant)>,
    under_way: HashMap<String, watch::Receiver<Found>>,
    waiting: VecDeque<(String, watch::Sender<Found>)>,
    threads: usize,
}

impl Names {
    /// Names as the system's resolver knows them.
    pub fn of_the_system() -> Self {
        // the port is put in by whoever connects
        Self::looked_up_by(|name| (name, 0).to_socket_addrs().map(Iterator::collect))
    }

    fn looked_up_by(
        lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { lookup: Arc::new(lookup), inner: Arc::default() }
    }

    /// The addresses of a host; their port means nothing.
    ///
    /// # Errors
    /// When the resolver knows none, or does not answer.
    pub async fn addresses(&self, name: &str) -> io::Result<Addresses> {
        let known = self.lock().known.get(name).cloned();
        let older = match known {
            Some((addresses, at)) if at.elapsed() < FRESH => return Ok(addresses),
            Some((addresses, at)) if at.elapsed() < OLD => addresses,
            Some(_) | None => return self.looked_up(name).await,
        };
        match tokio::time::timeout(PATIENCE, self.looked_up(name)).await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(_)) | Err(_) => Ok(older),
        }
    }

    /// The same, but never an older answer: somebody else is going to ask the name server, and must not
    /// wait for one that is silent.
    ///
    /// # Errors
    /// When the resolver knows none, or does not answer.
    pub async fn is_answered(&self, name: &str) -> io::Result<()> {
        let fresh = self.lock().known.get(name).is_some_and(|(_, at)| at.elapsed() < FRESH);
        if fresh { Ok(()) } else { self.looked_up(name).await.map(drop) }
    }

    async fn looked_up(&self, name: &str) -> io::Result<Addresses> {
        let mut found = self.look_up(name);
        let found = found.wait_for(Option::is_some).await;
        match found.as_deref() {
            Ok(Some(Ok(addresses))) => Ok(addresses.clone()),
            Ok(Some(Err(error))) => Err(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            }),
            Ok(None) | Err(_) => Err(io::Error::other("the lookup broke off")),
        }
    }

    /// Joins the lookup of a name, or begins one.
    fn look_up(&self, name: &str) -> watch::Receiver<Found> {
        let mut inner = self.lock();
        if let Some(found) = inner.under_way.get(name) {
            return found.clone();
        }
        let (tells, found) = watch::channel(None);
        inner.under_way.insert(name.to_owned(), found.clone());
        inner.waiting.push_back((name.to_owned(), tells));
        if inner.threads < LOOKUPS {
            inner.threads += 1;
            drop(inner);
            let this = self.clone();
            let thread = std::thread::Builder::new().name("names".to_owned());
            if let Err(error) = thread.spawn(move || this.serve()) {
                self.cannot_begin(error);
            }
        }
        found
    }

    /// Looks up what waits, until nothing does.
    fn serve(&self) {
        while let Some((name, tells)) = self.next() {
            let found = catch_unwind(AssertUnwindSafe(|| (self.lookup)(&name)));
            let found = found.unwrap_or_else(|_| Err(io::Error::other("the lookup crashed")));
            let found: Result<Addresses, _> = found.map(Into::into);
            let mut inner = self.lock();
            inner.under_way.remove(&name);
            if let Ok(addresses) = &found {
                keep(&mut inner.known, name, addresses.clone());
            }
            drop(inner);
            tells.send_replace(Some(found.map_err(Arc::new)));
        }
    }

    /// The next name that somebody waits for; none: the thread ends.
    fn next(&self) -> Option<(String, watch::Sender<Found>)> {
        let mut inner = self.lock();
        while let Some((name, tells)) = inner.waiting.pop_front() {
            // one receiver is kept here, for those who come
            if tells.receiver_count() > 1 {
                return Some((name, tells));
            }
            inner.under_way.remove(&name);
        }
        inner.threads -= 1;
        None
    }

    /// There can be no thread now: where no other serves, whoever waits is told.
    fn cannot_begin(&self, error: io::Error) {
        let mut inner = self.lock();
        inner.threads -= 1;
        if inner.threads > 0 {
            return;
        }
        let error = Arc::new(error);
        for (name, tells) in std::mem::take(&mut inner.waiting) {
            inner.under_way.remove(&name);
            tells.send_replace(Some(Err(error.clone())));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps an answer, in the place of the oldest where there are many.
fn keep(known: &mut HashMap<String, (Addresses, Instant)>, name: String, addresses: Addresses) {
    if known.len() >= KEPT && !known.contains_key(&name) {
        let oldest = known.iter().min_by_key(|(_, (_, at))| *at).map(|(name, _)| name.clone());
        oldest.and_then(|oldest| known.remove(&oldest));
    }
    known.insert(name, (addresses, Instant::now()));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const HERE: [u8; 4] = [127, 0, 0, 1];

    /// Names of which `silent` is answered when it is told so, and others at once; and how often it
    /// was asked.
    fn names() -> (Names, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (answers, waits) = mpsc::channel::<()>();
        let (waits, asked) = (Mutex::new(waits), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        let names = Names::looked_up_by(move |name| {
            counted.fetch_add(1, Ordering::SeqCst);
            if name.starts_with("silent") {
                waits.lock().unwrap().recv().map_err(io::Error::other)?;
            }
            Ok(vec![SocketAddr::from((HERE, 0))])
        });
        (names, answers, asked)
    }

    #[tokio::test]
    async fn a_silent_name_server_holds_up_no_other_name_and_is_asked_once() {
        let (names, answers, asked) = names();
        let silent: Vec<_> = (0..200).map(|_| names.look_up("silent")).collect();
        assert_eq!(names.addresses("other").await.unwrap().len(), 1);
        answers.send(()).unwrap();
        for mut one in silent {
            assert!(one.wait_for(Option::is_some).await.unwrap().as_ref().unwrap().is_ok());
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // it is known for a while, however slow the name server was
        assert_eq!(names.addresses("silent").await.unwrap().len(), 1);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_known_serves_while_the_name_server_does_not() {
        let (names, answers, _) = names();
        answers.send(()).unwrap();
        names.addresses("silent").await.unwrap();
        names.lock().known.get_mut("silent").unwrap().1 -= FRESH;
        assert_eq!(names.addresses("silent").await.unwrap().len(), 1, "an older answer");
        drop(answers);
        assert_eq!(names.addresses("silent").await.unwrap().len(), 1, "it knows none any more");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_looked_up() {
        let (names, answers, asked) = names();
        let held: Vec<_> = (0..LOOKUPS).map(|n| names.look_up(&format!("silent{n}"))).collect();
        let gone = (0..1000).map(|n| names.look_up(&format!("gone{n}"))).count();
        let mut other = names.look_up("other");
        assert_eq!(gone, 1000);
        for _ in &held {
            answers.send(()).unwrap();
        }
        assert!(other.wait_for(Option::is_some).await.unwrap().as_ref().unwrap().is_ok());
        assert!(asked.load(Ordering::SeqCst) <= LOOKUPS + 1);
    }

    #[tokio::test]
    async fn a_lookup_that_crashes_leaves_no_name_dead() {
        let first = std::sync::atomic::AtomicBool::new(true);
        let names = Names::looked_up_by(move |_| {
            assert!(!first.swap(false, Ordering::SeqCst), "the first lookup crashes");
            Ok(vec![SocketAddr::from((HERE, 0))])
        });
        assert!(names.addresses("x").await.is_err());
        assert_eq!(names.addresses("x").await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_system_knows_itself() {
        let found = Names::of_the_system().addresses("localhost").await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
    }
}
