//! Names of hosts and their addresses, asked of the system's resolver on threads of their own: a
//! name server that is down holds up nothing but the calls that need it.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// Names that are looked up at the same time. Each takes a thread while its name server is silent.
const LOOKUPS: usize = 32;

/// What came of a lookup, once it did.
type Found = Option<Result<Arc<[SocketAddr]>, Arc<io::Error>>>;

type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Looks names up: each once at a time, for all who ask meanwhile.
#[derive(Clone)]
pub struct Names {
    pool: Arc<Pool>,
    lookup: Arc<Lookup>,
    under_way: Arc<Mutex<HashMap<String, watch::Receiver<Found>>>>,
}

/// The threads; they are left to themselves when nobody asks any more.
struct Pool(Option<Runtime>);

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Names {
    /// Names as the system's resolver knows them.
    ///
    /// # Errors
    /// When there can be no threads for it.
    pub fn of_the_system() -> io::Result<Self> {
        // the port is put in by whoever connects
        Self::looked_up_by(|name| (name, 0).to_socket_addrs().map(Iterator::collect))
    }

    fn looked_up_by(
        lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .thread_name("names")
            .max_blocking_threads(LOOKUPS)
            .build()?;
        Ok(Self {
            pool: Arc::new(Pool(Some(runtime))),
            lookup: Arc::new(lookup),
            under_way: Arc::default(),
        })
    }

    /// The addresses of a host; their port means nothing.
    ///
    /// # Errors
    /// When the resolver knows none, or does not answer.
    pub async fn addresses(&self, name: &str) -> io::Result<Arc<[SocketAddr]>> {
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
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = under_way.get(name) {
            return found.clone();
        }
        let (tells, found) = watch::channel(None);
        under_way.insert(name.to_owned(), found.clone());
        let (this, name) = (self.under_way.clone(), name.to_owned());
        let lookup = self.lookup.clone();
        if let Some(runtime) = &self.pool.0 {
            runtime.spawn_blocking(move || {
                let result = lookup(&name).map(Into::into).map_err(Arc::new);
                this.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
                tells.send_replace(Some(result));
            });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_silent_name_server_holds_up_no_other_name_and_is_asked_once() {
        let (answers, waits) = mpsc::channel::<()>();
        let (waits, asked) = (Mutex::new(waits), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        let names = Names::looked_up_by(move |name| {
            counted.fetch_add(1, Ordering::SeqCst);
            if name == "silent" {
                waits.lock().unwrap().recv().map_err(io::Error::other)?;
            }
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))])
        });
        let names = names.unwrap();
        let silent: Vec<_> = (0..200).map(|_| names.look_up("silent")).collect();
        assert_eq!(names.addresses("other").await.unwrap().len(), 1);
        answers.send(()).unwrap();
        for mut one in silent {
            assert!(one.wait_for(Option::is_some).await.unwrap().as_ref().unwrap().is_ok());
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // what was found once is not kept: the next one asks again
        drop(answers);
        assert!(names.addresses("silent").await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn the_system_knows_itself() {
        let names = Names::of_the_system().unwrap();
        let found = names.addresses("localhost").await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
    }
}
