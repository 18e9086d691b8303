//! The board: every CSR as they were committed last, for whoever plans or shows. Its one writer for each
//! CSR is their actor.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::kind::CsrRegistry;
use super::planner::Planner;
use crate::domain::ids::CsrId;
use crate::domain::staff::business::Business;
use crate::domain::staff::catalogue::Catalogue;
use crate::domain::staff::csr::Csr;
use crate::domain::staff::holidays::HolidayCalendar;
use crate::domain::staff::notice::letter::Templates;
use crate::domain::staff::settings::Settings;
use crate::store::EngineFence;
use crate::store::record::Hash;

/// CSRs at the most.
pub const CSRS_MAX: usize = 5000;

/// A CSR as the journal has them.
#[derive(Clone)]
pub struct Kept {
    pub csr: Arc<Csr>,
    /// Hash of the last record.
    pub hash: Hash,
    /// What the next append has to bring.
    pub fence: Option<EngineFence>,
}

/// All CSRs, holiday calendars, and who looks for people.
pub struct Staff {
    /// What an admin picks tasks from.
    pub catalogue: Catalogue,
    /// What notices are written by.
    pub templates: Templates,
    settings: Settings,
    business: Arc<Business>,
    csrs: RwLock<BTreeMap<CsrId, Kept>>,
    calendars: RwLock<BTreeMap<Arc<str>, Arc<HolidayCalendar>>>,
    /// CSRs whose cases are being told what does not fit any more.
    telling: Mutex<HashSet<CsrId>>,
    pub registry: Arc<CsrRegistry>,
    pub planner: Planner,
}

impl Staff {
    /// An empty board.
    pub fn new(settings: Settings, catalogue: Catalogue, templates: Templates) -> Self {
        Self {
            catalogue,
            templates,
            business: Arc::new(settings.business.clone()),
            settings,
            csrs: RwLock::default(),
            calendars: RwLock::default(),
            telling: Mutex::default(),
            // their actors need no places: there are few, and all stay
            registry: Arc::new(CsrRegistry::new(0)),
            planner: Planner::default(),
        }
    }

    /// Somebody begins to tell a CSR's cases. False: somebody does already.
    pub fn begins_telling(&self, id: &CsrId) -> bool {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone())
    }

    /// They have been told.
    pub fn ends_telling(&self, id: &CsrId) {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// How tasks are given to people.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// When people work in general.
    pub fn business(&self) -> Arc<Business> {
        self.business.clone()
    }

    /// A CSR.
    pub fn csr(&self, id: &CsrId) -> Option<Arc<Csr>> {
        self.kept(id).map(|kept| kept.csr)
    }

    /// A CSR as the journal has them.
    pub fn kept(&self, id: &CsrId) -> Option<Kept> {
        self.csrs.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// All CSRs, by id.
    pub fn all(&self) -> Vec<Arc<Csr>> {
        let csrs = self.csrs.read().unwrap_or_else(PoisonError::into_inner);
        csrs.values().map(|kept| kept.csr.clone()).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.csrs.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// This was committed.
    pub fn put(&self, kept: Kept) {
        let id = kept.csr.id.clone();
        self.csrs.write().unwrap_or_else(PoisonError::into_inner).insert(id, kept);
    }

    /// Nobody proposes anything to them any more.
    pub fn remove(&self, id: &CsrId) {
        self.csrs.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// A holiday calendar.
    pub fn calendar(&self, name: &str) -> Option<Arc<HolidayCalendar>> {
        self.calendars.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All holiday calendars, by name.
    pub fn calendars(&self) -> Vec<Arc<HolidayCalendar>> {
        let all = self.calendars.read().unwrap_or_else(PoisonError::into_inner);
        all.values().cloned().collect()
    }

    /// This calendar was committed.
    pub fn put_calendar(&self, calendar: Arc<HolidayCalendar>) {
        let name = calendar.name.as_str().into();
        let mut all = self.calendars.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(name, calendar);
    }
}
