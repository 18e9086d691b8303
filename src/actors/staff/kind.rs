//! CSRs as a kind of entity that has actors.

use super::message::CsrMsg;
use crate::actors::registry::{Kind, Registry};
use crate::domain::ids::{Bits, CsrId, Entity};

/// CSRs.
pub struct Csrs;

/// A CSR in short: what the journal knows them by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CsrKey(pub Bits);

/// The CSRs that have actors.
pub type CsrRegistry = Registry<Csrs>;

impl From<&CsrId> for CsrKey {
    fn from(id: &CsrId) -> Self {
        Self(Entity::csr(id).bits)
    }
}

impl Kind for Csrs {
    type Id = CsrKey;
    type Message = CsrMsg;
    /// They begin by their first command.
    type Begun = ();

    fn random_byte(id: CsrKey) -> u8 {
        id.0.0[15]
    }

    fn recover() -> CsrMsg {
        CsrMsg::Recover
    }

    fn is_counted(_: &CsrMsg) -> bool {
        true
    }

    fn absorb(known: &mut CsrMsg, message: &CsrMsg) -> bool {
        matches!((known, message), (CsrMsg::Recover, CsrMsg::Recover))
    }
}
