//! Definitions: registered for ever, compiled once, shared by all cases that are pinned to them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::domain::ids::{Entity, EntityKind};
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::meter::Limits;
use crate::domain::workflow::fault::Fault;
use crate::domain::workflow::location::Location;
use crate::domain::workflow::model::{Definition, DefinitionId};
use crate::domain::workflow::read::{Compiled, Surroundings, compile};
use crate::domain::workflow::source::Format;
use crate::store::EngineJournal;
use crate::store::journal::{Append, Journal, LEFT_OPEN, ReadError, Settled, append_until_known};
use crate::store::record::{self, By, Header};

/// Bytes of a definition's text.
pub const TEXT_MAX: usize = 512 * 1024;

/// What the journal holds of a definition.
#[derive(Serialize, Deserialize, Clone)]
struct Registered {
    namespace: String,
    name: String,
    version: String,
    format: String,
    text: String,
}

/// A definition that is known, compiled when it is first needed.
struct Known {
    id: DefinitionId,
    title: Option<String>,
    content: Content,
    /// Its text has the words, so that it may hand jobs to some, or begin by itself.
    may_have: MayHave,
}

/// What a text that was not compiled yet may have.
#[derive(Clone, Copy, Default)]
struct MayHave {
    queues: bool,
    schedule: bool,
}

/// What is known of a definition's content.
#[derive(Clone)]
enum Content {
    /// It has not been needed yet.
    Stored,
    Compiled(Arc<Definition>),
    /// This version of ours cannot use it.
    Unusable,
}

/// Versions in their order, by namespace and name.
type Versions = BTreeMap<(Arc<str>, Arc<str>), BTreeMap<semver::Version, Known>>;

/// All definitions.
pub struct Definitions {
    journal: EngineJournal,
    clock: Clock,
    around: Arc<Around>,
    versions: RwLock<Versions>,
    /// One registration at a time: the second of two equal ones finds the first.
    registering: tokio::sync::Mutex<()>,
    /// One definition that was stored is compiled at a time.
    compiling: tokio::sync::Mutex<()>,
}

/// Hosts and secrets that are known, for warnings.
pub struct Around {
    pub serves: Box<dyn Fn(&str) -> bool + Send + Sync>,
    pub has_secret: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

/// A definition as lists show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub id: DefinitionId,
    pub title: Option<String>,
}

/// What became of a registration.
#[derive(Debug, Clone)]
pub struct Registration {
    pub id: DefinitionId,
    /// False: an equal one was there already.
    pub new: bool,
    pub warnings: Vec<Fault>,
}

/// Why a definition was not registered.
#[derive(Debug, Clone)]
pub enum Refused {
    Faults(Vec<Fault>),
    /// Another content is stored under this version.
    Other(DefinitionId),
    Failed(String),
}

impl Definitions {
    /// The definitions that the journal holds.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn open(
        journal: EngineJournal,
        clock: Clock,
        around: Around,
    ) -> Result<Self, ReadError> {
        let around = Arc::new(around);
        let mut versions = Versions::new();
        for entity in journal.entities(EntityKind::Workflow).await? {
            let stored = match journal.read(entity, 1, 1).await {
                Ok(page) => page.records.first().and_then(|record| stored_in(record)),
                Err(error) if error.damaged => None,
                Err(error) => return Err(error),
            };
            if let Some(stored) = stored {
                let known = insert(&mut versions, id_of(&stored), None, Content::Stored);
                if let Some(known) = known {
                    let (queues, schedule) =
                        (stored.text.contains("queue"), stored.text.contains("schedule"));
                    known.may_have = MayHave { queues, schedule };
                }
            } else {
                tracing::error!(?entity, "a definition in the journal cannot be read");
            }
        }
        let registering = tokio::sync::Mutex::new(());
        let compiling = tokio::sync::Mutex::new(());
        Ok(Self { journal, clock, around, versions: RwLock::new(versions), registering, compiling })
    }

    /// Registers a definition. An equal one that is there already is fine. `admit` may say why there is no
    /// room for one that is new.
    ///
    /// # Errors
    /// Every fault of the text, or that the version is taken.
    pub async fn register(
        &self,
        text: String,
        format: Format,
        by: By,
        admit: impl Fn(&Definition) -> Result<(), String> + Send,
    ) -> Result<Registration, Refused> {
        let compiled = self.compile(text.clone(), format).await;
        let compiled = compiled.map_err(|error| Refused::Failed(error.to_string()))?;
        let compiled = compiled.and_then(Compiled::registered_now).map_err(Refused::Faults)?;
        let definition = compiled.definition;
        let id = definition.id.clone();
        let _one = self.registering.lock().await;
        let known = self.get(&id).await.map_err(|error| Refused::Failed(error.to_string()))?;
        if let Some(known) = known {
            if known.source == definition.source {
                return Ok(Registration { id, new: false, warnings: compiled.warnings });
            }
            return Err(Refused::Other(id));
        }
        admit(&definition).map_err(Refused::Failed)?;
        let format = if format == Format::Json { "json" } else { "yaml" };
        let stored = Registered {
            namespace: id.namespace.to_string(),
            name: id.name.to_string(),
            version: id.version.to_string(),
            format: format.to_owned(),
            text,
        };
        self.append(&id, &stored, by).await?;
        let title = definition.title.clone();
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        insert(&mut versions, id.clone(), title, Content::Compiled(definition));
        Ok(Registration { id, new: true, warnings: compiled.warnings })
    }

    async fn append(&self, id: &DefinitionId, stored: &Registered, by: By) -> Result<(), Refused> {
        let entity = Entity::workflow(&id.namespace, &id.name, &id.version);
        let header = Header::following(None, entity, self.clock.now(), by);
        let header = header.map_err(|e| Refused::Failed(e.to_string()))?;
        let events = serde_json::to_vec(&[("registered", stored)]);
        let events = events.map_err(|e| Refused::Failed(e.to_string()))?;
        let record = record::encode(&header, &events).into();
        let append = Append { entity, fence: None, first: 1, record, note: None };
        match append_until_known(&self.journal, append).await {
            Settled::Committed(_) => Ok(()),
            Settled::Conflict => Err(Refused::Other(id.clone())),
            Settled::Refused(refused) => Err(Refused::Failed(refused.to_string())),
            Settled::LeftOpen => Err(Refused::Failed(LEFT_OPEN.to_owned())),
        }
    }

    /// The definition of this identity; none: there is none that could be used. It is compiled once,
    /// however many ask at the same time.
    ///
    /// # Errors
    /// When it cannot be read now.
    pub async fn get(&self, id: &DefinitionId) -> Result<Option<Arc<Definition>>, ReadError> {
        match self.known(id) {
            None | Some(Content::Unusable) => return Ok(None),
            Some(Content::Compiled(compiled)) => return Ok(Some(compiled)),
            Some(Content::Stored) => {}
        }
        let _one = self.compiling.lock().await;
        match self.known(id) {
            None | Some(Content::Unusable) => return Ok(None),
            // somebody else has compiled it meanwhile
            Some(Content::Compiled(compiled)) => return Ok(Some(compiled)),
            Some(Content::Stored) => {}
        }
        let entity = Entity::workflow(&id.namespace, &id.name, &id.version);
        let page = match self.journal.read(entity, 1, 1).await {
            Err(error) if error.damaged => return Ok(None),
            page => page?,
        };
        let Some(stored) = page.records.first().and_then(|record| stored_in(record)) else {
            return Ok(None);
        };
        let format = if stored.format == "json" { Format::Json } else { Format::Yaml };
        let compiled = self.compile(stored.text, format).await;
        let not_now = |error: io::Error| ReadError { error: error.to_string(), damaged: false };
        let compiled = compiled.map_err(not_now)?.map(|compiled| compiled.definition);
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        match compiled {
            Ok(compiled) => {
                let (title, content) =
                    (compiled.title.clone(), Content::Compiled(compiled.clone()));
                insert(&mut versions, compiled.id.clone(), title, content);
                Ok(Some(compiled))
            }
            Err(faults) => {
                // a version that reads less than the one that registered it
                tracing::error!(definition = %id, ?faults, "a stored definition has faults");
                insert(&mut versions, id.clone(), None, Content::Unusable);
                Ok(None)
            }
        }
    }

    /// When a definition was registered, as far as that can be read.
    ///
    /// # Errors
    /// When it cannot be read now.
    pub async fn registered_at(&self, id: &DefinitionId) -> Result<Option<Timestamp>, ReadError> {
        let entity = Entity::workflow(&id.namespace, &id.name, &id.version);
        let page = match self.journal.read(entity, 1, 1).await {
            Err(error) if error.damaged => return Ok(None),
            page => page?,
        };
        let header = page.records.first().and_then(|record| record::decode(record).ok());
        Ok(header.map(|(header, _)| header.at))
    }

    fn known(&self, id: &DefinitionId) -> Option<Content> {
        let version = semver::Version::parse(&id.version).ok()?;
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let of_workflow = versions.get(&(id.namespace.clone(), id.name.clone()))?;
        of_workflow.get(&version).map(|known| known.content.clone())
    }

    /// The identity that a namespace, name and version (none: the latest) stand for. The latest is
    /// the highest version; one with a pre-release tag only where there is no other.
    pub fn resolve(
        &self,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> Option<DefinitionId> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let of_workflow = versions.get(&(namespace.into(), name.into()))?;
        let known = match version {
            Some(text) => of_workflow.get(&semver::Version::parse(text).ok()?),
            None => released(of_workflow).or_else(|| of_workflow.values().next_back()),
        };
        known.map(|known| known.id.clone())
    }

    /// The queues that the latest definitions name.
    ///
    /// # Errors
    /// When they cannot be read now.
    pub async fn queues(&self) -> Result<Vec<Arc<str>>, ReadError> {
        let ids: Vec<DefinitionId> = {
            let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
            let latest =
                versions.values().filter_map(|of_workflow| of_workflow.values().next_back());
            latest.filter(|known| known.may_have.queues).map(|known| known.id.clone()).collect()
        };
        let mut queues = Vec::new();
        for id in ids {
            queues.extend(self.get(&id).await?.iter().flat_map(|known| known.queues.clone()));
        }
        Ok(queues)
    }

    /// The latest version of a workflow without a pre-release tag: the one that its schedule goes by.
    pub fn latest_release(&self, namespace: &str, name: &str) -> Option<DefinitionId> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let of_workflow = versions.get(&(namespace.into(), name.into()))?;
        released(of_workflow).map(|known| known.id.clone())
    }

    /// Namespace and name of the workflows that begin by themselves.
    ///
    /// # Errors
    /// When they cannot be read now.
    pub async fn scheduled(&self) -> Result<Vec<(Arc<str>, Arc<str>)>, ReadError> {
        let ids: Vec<DefinitionId> = {
            let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
            let latest = versions.values().filter_map(released);
            latest.filter(|known| known.may_have.schedule).map(|known| known.id.clone()).collect()
        };
        let mut scheduled = Vec::new();
        for id in ids {
            if self.get(&id).await?.is_some_and(|known| known.schedule.is_some()) {
                scheduled.push((id.namespace, id.name));
            }
        }
        Ok(scheduled)
    }

    /// All definitions, by namespace, name and version.
    pub fn list(&self) -> Vec<Listed> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let all = versions.values().flat_map(BTreeMap::values);
        all.map(|known| Listed { id: known.id.clone(), title: known.title.clone() }).collect()
    }

    async fn compile(
        &self,
        text: String,
        format: Format,
    ) -> io::Result<Result<Compiled, Vec<Fault>>> {
        let around = self.around.clone();
        let compiled = tokio::task::spawn_blocking(move || {
            compile_apart(&text, format, &around.serves, &around.has_secret)
        });
        compiled.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// Compiles on a thread with room for deep expressions, and gives every fault.
///
/// # Errors
/// When there can be no such thread now.
pub fn compile_apart(
    text: &str,
    format: Format,
    serves: &(dyn Fn(&str) -> bool + Sync),
    has_secret: &(dyn Fn(&str) -> bool + Sync),
) -> io::Result<Result<Compiled, Vec<Fault>>> {
    std::thread::scope(|scope| {
        let compiling = std::thread::Builder::new()
            .name("compile".to_owned())
            .stack_size(Limits::APART_STACK)
            .spawn_scoped(scope, || {
                let around = Surroundings { serves, has_secret };
                compile(text, format, &around)
            });
        Ok(compiling?.join().unwrap_or_else(|_| Err(too_complex())))
    })
}

fn too_complex() -> Vec<Fault> {
    vec![Fault::at(Location::default(), "", "the definition cannot be compiled", "simplify it")]
}

fn released(of_workflow: &BTreeMap<semver::Version, Known>) -> Option<&Known> {
    let found = of_workflow.iter().rev().find(|(version, _)| version.pre.is_empty());
    found.map(|(_, known)| known)
}

fn insert(
    versions: &mut Versions,
    id: DefinitionId,
    title: Option<String>,
    content: Content,
) -> Option<&mut Known> {
    let version = semver::Version::parse(&id.version).ok()?;
    let key = (id.namespace.clone(), id.name.clone());
    let known = Known { id, title, content, may_have: MayHave::default() };
    let of_workflow = versions.entry(key).or_default();
    of_workflow.insert(version.clone(), known);
    of_workflow.get_mut(&version)
}

fn id_of(stored: &Registered) -> DefinitionId {
    DefinitionId {
        namespace: stored.namespace.as_str().into(),
        name: stored.name.as_str().into(),
        version: stored.version.as_str().into(),
    }
}

fn stored_in(record: &[u8]) -> Option<Registered> {
    let (_, events) = record::decode(record).ok()?;
    let events: Vec<(String, Registered)> = serde_json::from_slice(events).ok()?;
    events.into_iter().next().filter(|(word, _)| word == "registered").map(|(_, stored)| stored)
}
