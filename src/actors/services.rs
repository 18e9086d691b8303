//! The shared handle of services: permits are taken here without a message; each service's breaker
//! actor hears only that there is something to do.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ractor::ActorRef;
use tokio::sync::mpsc;

use super::breaker::BreakerMsg;
use crate::clock::Clock;
use crate::domain::case::desk;
use crate::domain::case::event::{Wait, WaitKind};
use crate::domain::ids::CaseId;
use crate::domain::service::circuit::{Circuit, Transition};
use crate::domain::service::gate::{Gate, Held, Reply};
use crate::domain::service::line::Ticket;
use crate::domain::service::settings::Settings;
use crate::domain::time::Timestamp;

/// Hosts that no service names, of which a gate is kept at the most.
const UNKNOWN_MAX: usize = 1024;

/// All services.
pub struct Services {
    clock: Clock,
    /// Hosts of named services.
    hosts: HashMap<String, Arc<str>>,
    /// Hosts that named services really are at.
    addresses: HashSet<String>,
    allow_unknown: bool,
    all: RwLock<HashMap<Arc<str>, Arc<Served>>>,
    /// Whether cases that waited for a service before the start still do.
    waits: Waits,
    /// The process is ending: no more permits.
    closed: Arc<AtomicBool>,
    /// Told of services that want a breaker actor.
    added: mpsc::UnboundedSender<Arc<Served>>,
}

/// Whether any case is parked behind the service of this name.
pub type Waits = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// One service.
pub struct Served {
    pub settings: Settings,
    clock: Clock,
    closed: Arc<AtomicBool>,
    gate: Mutex<Gate>,
    /// Transitions that are not in the journal yet.
    moved: Mutex<Vec<(Transition, Timestamp)>>,
    breaker: Mutex<Option<ActorRef<BreakerMsg>>>,
    poked: AtomicBool,
}

/// A permit to make one call; given back when it is dropped without having been used.
pub struct Permit {
    served: Arc<Served>,
    case: CaseId,
    settled: bool,
}

impl Services {
    /// The named services, their breakers in the states that the journal has of them. The second
    /// part names every service that wants a breaker actor, now and later.
    pub fn new(
        named: Vec<(Settings, Circuit)>,
        allow_unknown: bool,
        clock: Clock,
        waits: Waits,
    ) -> (Self, mpsc::UnboundedReceiver<Arc<Served>>) {
        let (added, wanted) = mpsc::unbounded_channel();
        let closed = Arc::new(AtomicBool::new(false));
        let mut hosts = HashMap::new();
        let mut addresses = HashSet::new();
        let mut all = HashMap::new();
        for (settings, circuit) in named {
            let name = settings.name.clone();
            for host in &settings.hosts {
                hosts.insert(host.to_ascii_lowercase(), name.clone());
            }
            let url = settings.url.as_deref().and_then(|url| url::Url::parse(url).ok());
            addresses.extend(url.and_then(|url| Some(url.host_str()?.to_ascii_lowercase())));
            let waits = waits(&name);
            let served =
                Arc::new(Served::new(settings, circuit, clock.clone(), closed.clone(), waits));
            let _ = added.send(served.clone());
            all.insert(name, served);
        }
        let all = RwLock::new(all);
        (Self { clock, hosts, addresses, allow_unknown, all, waits, closed, added }, wanted)
    }

    /// The service of a host, as a decision sees it.
    pub fn of_host(&self, host: &str) -> desk::Service {
        match self.hosts.get(host) {
            Some(name) => self.seen(name),
            None => desk::Service { refused: !self.may_call(host), ..self.seen(host) },
        }
    }

    /// Whether a host may be called: one that a service names, or has as its address, or (where others
    /// may be called at all) any but those that machines keep for themselves.
    pub fn may_call(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let named = self.hosts.contains_key(&host) || self.addresses.contains(&host);
        named || (self.allow_unknown && !is_of_the_machine(&host))
    }

    /// A service, as a decision sees it.
    pub fn seen(&self, name: &str) -> desk::Service {
        let settings = match self.find(name) {
            Some(served) => served.settings.clone(),
            None => Settings::unknown(name),
        };
        desk::Service {
            name: settings.name,
            known: settings.known,
            timeout: settings.timeout,
            patience: settings.patience,
            honours_key: settings.honours_key,
            refused: false,
        }
    }

    /// The service of this name, if there is one.
    pub fn find(&self, name: &str) -> Option<Arc<Served>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All services, by name.
    pub fn list(&self) -> Vec<Arc<Served>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> = all.values().cloned().collect();
        list.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
        list
    }

    /// The views are complete: they know who waited before the start.
    pub fn expect_lines(&self) {
        for served in self.list() {
            if (self.waits)(&served.settings.name) {
                served.gate().expect_line();
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
    pub fn served(&self, name: &str) -> Arc<Served> {
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
            let served = Arc::new(Served::new(settings, Circuit::Closed, clock, closed, waits));
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
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => v4.is_link_local() || v4.is_unspecified(),
        Ok(IpAddr::V6(v6)) => {
            let mapped = v6.to_ipv4_mapped().is_some_and(|v4| v4.is_link_local());
            mapped || (v6.segments()[0] & 0xffc0) == 0xfe80 || v6.is_unspecified()
        }
        Err(_) => host == "metadata.google.internal",
    }
}

impl Served {
    fn new(
        settings: Settings,
        circuit: Circuit,
        clock: Clock,
        closed: Arc<AtomicBool>,
        waits: bool,
    ) -> Self {
        let mut gate = Gate::new(settings.clone(), circuit);
        if waits {
            gate.expect_line();
        }
        Self {
            settings,
            clock,
            closed,
            gate: Mutex::new(gate),
            moved: Mutex::default(),
            breaker: Mutex::default(),
            poked: AtomicBool::new(false),
        }
    }

    /// The gate itself.
    pub fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a permit.
    pub fn ask(self: &Arc<Self>, ticket: Ticket) -> Result<Permit, Held> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Held::Full("the process is ending"));
        }
        let asked = self.gate().ask(ticket, self.clock.now());
        match asked {
            Ok(()) => Ok(Permit { served: self.clone(), case: ticket.case, settled: false }),
            Err(held) => {
                self.poke();
                Err(held)
            }
        }
    }

    /// The views show that a case waits.
    pub fn shown(&self, case: CaseId) {
        self.gate().shown(case);
        self.poke();
    }

    /// A case was told that its place is free, and has used it or not.
    pub fn decline(&self, case: CaseId) {
        self.gate().decline(case);
        self.poke();
    }

    /// Who looks after this service from now on.
    pub fn attach(&self, breaker: ActorRef<BreakerMsg>) {
        *self.breaker.lock().unwrap_or_else(PoisonError::into_inner) = Some(breaker);
        self.poked.store(false, Ordering::Release);
    }

    /// The actor that looks after it.
    pub fn breaker(&self) -> Option<ActorRef<BreakerMsg>> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the breaker's actor that there may be something to do; once until it has looked.
    pub fn poke(&self) {
        if !self.poked.swap(true, Ordering::AcqRel)
            && let Some(breaker) = self.breaker()
        {
            // an error means that it is about to begin again, and looks then
            let _ = breaker.cast(BreakerMsg::Look);
        }
    }

    /// The breaker's actor looks now.
    pub fn looked(&self) {
        self.poked.store(false, Ordering::Release);
    }

    /// Transitions that are to be noted in the journal.
    pub fn take_moved(&self) -> Vec<(Transition, Timestamp)> {
        std::mem::take(&mut self.moved.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A transition has happened, and is to be noted.
    pub fn moved(&self, transition: Transition, at: Timestamp) {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).push((transition, at));
    }

    /// Until when an operator holds it, if one does.
    pub fn held_until(&self) -> Option<Timestamp> {
        match self.gate().circuit() {
            Circuit::Isolated { until, .. } => Some(*until),
            Circuit::Closed | Circuit::Open(_) | Circuit::HalfOpen { .. } => None,
        }
    }

    /// Why a call waits, as the case keeps it. When it may go on is not among it: it is let go when
    /// its turn comes.
    pub fn wait(&self, held: Held) -> Wait {
        let on = Some(self.settings.name.clone());
        let (kind, detail) = match held {
            Held::Outage(detail) => (WaitKind::Service, detail),
            Held::Operator(reason) => (WaitKind::Operator, Some(reason)),
            Held::Full(detail) => (WaitKind::Rate, Some(detail.into())),
        };
        Wait { kind, on, until: None, detail }
    }
}

impl Permit {
    /// The service.
    pub fn served(&self) -> &Arc<Served> {
        &self.served
    }

    /// Whether the other cases' calls are answered.
    pub fn others_answered(&self) -> bool {
        self.served.gate().others_answered(self.case)
    }

    /// The call has ended.
    pub fn settle(mut self, reply: &Reply) {
        self.settled = true;
        let now = self.served.clock.now();
        let (transition, waits) = {
            let mut gate = self.served.gate();
            let transition = gate.settle(self.case, reply, now);
            (transition, gate.has_line())
        };
        if let Some(transition) = transition {
            self.served.moved(transition, now);
            self.served.poke();
        } else if waits {
            self.served.poke();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.settled {
            self.served.gate().give_back(self.case);
            self.served.poke();
        }
    }
}
