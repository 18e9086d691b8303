//! All services: which host is whose, and a handle for each.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::mpsc;

use super::handle::ServiceHandle;
use crate::clock::Clock;
use crate::domain::case::decision_context;
use crate::domain::service::circuit::Standing;
use crate::domain::service::settings::Settings;

/// Hosts that no service names, of which a gate is kept at the most.
const UNKNOWN_MAX: usize = 1024;

/// All services.
pub struct Services {
    clock: Clock,
    /// Hosts of named services.
    hosts: HashMap<String, Arc<str>>,
    /// Hosts and ports that named services really are at.
    addresses: HashSet<(String, u16)>,
    allow_unknown: bool,
    all: RwLock<HashMap<Arc<str>, Arc<ServiceHandle>>>,
    /// Whether cases that waited for a service before the start still do.
    waits: Waits,
    /// The process is ending: no more permits.
    closed: Arc<AtomicBool>,
    /// Told of services that want a breaker actor.
    added: mpsc::UnboundedSender<Arc<ServiceHandle>>,
}

/// Whether any case is parked behind the service of this name.
pub type Waits = Box<dyn Fn(&str) -> bool + Send + Sync>;

impl Services {
    /// The named services, their breakers in the states that the journal has of them. The second
    /// part names every service that wants a breaker actor, now and later.
    pub fn new(
        named: Vec<(Settings, Standing)>,
        allow_unknown: bool,
        clock: Clock,
        waits: Waits,
    ) -> (Self, mpsc::UnboundedReceiver<Arc<ServiceHandle>>) {
        let (added, wanted) = mpsc::unbounded_channel();
        let closed = Arc::new(AtomicBool::new(false));
        let mut hosts = HashMap::new();
        let mut addresses = HashSet::new();
        let mut all = HashMap::new();
        for (settings, standing) in named {
            let name = settings.name.clone();
            for host in &settings.hosts {
                hosts.insert(host.to_ascii_lowercase(), name.clone());
            }
            let url = settings.url.as_deref().and_then(|url| url::Url::parse(url).ok());
            let address = |url: url::Url| {
                Some((url.host_str()?.to_ascii_lowercase(), url.port_or_known_default()?))
            };
            addresses.extend(url.and_then(address));
            let waits = waits(&name);
            let served = Arc::new(ServiceHandle::new(
                settings,
                standing,
                clock.clone(),
                closed.clone(),
                waits,
            ));
            let _ = added.send(served.clone());
            all.insert(name, served);
        }
        let all = RwLock::new(all);
        (Self { clock, hosts, addresses, allow_unknown, all, waits, closed, added }, wanted)
    }

    /// The service of a host, as a decision sees it.
    pub fn of_host(&self, host: &str) -> decision_context::Service {
        match self.hosts.get(host) {
            Some(name) => self.seen(name),
            None => {
                decision_context::Service { refused: !self.may_call(host, None), ..self.seen(host) }
            }
        }
    }

    /// Whether a host may be called: one that a service names, or has as its address, or (where others
    /// may be called at all) any but those that machines keep for themselves.
    pub fn may_call(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.to_ascii_lowercase();
        let address = port.map(|port| (host.clone(), port));
        let known = address.is_some_and(|address| self.addresses.contains(&address));
        let named = self.hosts.contains_key(&host) || known;
        named || (self.allow_unknown && !is_of_the_machine(&host))
    }

    /// A service, as a decision sees it.
    pub fn seen(&self, name: &str) -> decision_context::Service {
        let settings = match self.find(name) {
            Some(served) => served.settings.clone(),
            None => Settings::unknown(name),
        };
        decision_context::Service {
            name: settings.name,
            known: settings.known,
            timeout: settings.timeout,
            patience: settings.patience,
            honours_key: settings.honours_key,
            refused: false,
        }
    }

    /// The service of this name, if there is one.
    pub fn find(&self, name: &str) -> Option<Arc<ServiceHandle>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All services, by name.
    pub fn list(&self) -> Vec<Arc<ServiceHandle>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> = all.values().cloned().collect();
        list.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
        list
    }

    /// The views are complete: they know who waited before the start.
    pub fn expect_lines(&self) {
        for served in self.list() {
            if (self.waits)(&served.settings.name) {
                served.expect_line();
            }
        }
    }

    /// No call begins any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Calls under way.
    pub fn in_flight(&self) -> u32 {
        self.list().iter().map(|served| served.gate().in_flight()).sum()
    }

    /// The service of this name; for a host that no service names, one is made.
    pub fn served(&self, name: &str) -> Arc<ServiceHandle> {
        if let Some(served) = self.find(name) {
            return served;
        }
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= UNKNOWN_MAX {
            all.retain(|_, served| {
                let idle = !served.settings.known && served.gate().is_idle();
                if idle && let Some(breaker) = served.breaker() {
                    breaker.stop(None);
                }
                !idle
            });
        }
        let served = all.entry(name.into()).or_insert_with(|| {
            let settings = Settings::unknown(name);
            let (clock, waits) = (self.clock.clone(), (self.waits)(name));
            let closed = self.closed.clone();
            let served =
                Arc::new(ServiceHandle::new(settings, Standing::default(), clock, closed, waits));
            // an error means that the process is ending
            let _ = self.added.send(served.clone());
            served
        });
        served.clone()
    }
}

/// Whether an address is one that machines and clouds keep for themselves: link-local ones, where
/// metadata with credentials is served.
fn is_of_the_machine(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => v4.is_link_local() || v4.is_unspecified(),
        Ok(IpAddr::V6(v6)) => {
            let mapped = v6.to_ipv4_mapped().is_some_and(|v4| v4.is_link_local());
            let metadata = v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
            mapped || metadata || (v6.segments()[0] & 0xffc0) == 0xfe80 || v6.is_unspecified()
        }
        Err(_) => host == "metadata.google.internal",
    }
}
