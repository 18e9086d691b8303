//! Notices as mails: for their readers as they are now.

use crate::actors::context::Context;
use crate::domain::ids::CaseId;
use crate::domain::mail::Mail;
use crate::domain::staff::notice::letter::Address;
use crate::domain::staff::notice::{Notice, Notices, Reader};

impl Context {
    /// Who is to be told of what is planned. A mail server that is missing now may be there tomorrow.
    pub fn notices(&self) -> Notices {
        match self.staff.settings().lead {
            None => Notices::People,
            Some(_) => Notices::All,
        }
    }

    /// The mail of a notice.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn write_notice(&self, case: CaseId, notice: &Notice) -> Result<Mail, String> {
        let from = self.dispatcher.sender().ok_or("no mail server is configured")?;
        let to = self.address_of(&notice.reader)?;
        self.staff.templates.write((case, notice), &to, &from, self.clock.wall())
    }

    fn address_of(&self, reader: &Reader) -> Result<Address, String> {
        let business = self.staff.business().zone.clone();
        Ok(match reader {
            Reader::Customer(customer) => Address {
                name: customer.name.clone(),
                email: customer.email.clone(),
                zone: customer.zone.clone(),
                language: customer.language.clone(),
            },
            Reader::Csr(person) => match self.staff.csr(&person.id) {
                Some(csr) => Address {
                    name: csr.profile.name.clone(),
                    email: csr.profile.email.clone(),
                    zone: csr.profile.zone.clone(),
                    language: csr.profile.language.clone(),
                },
                None => Address {
                    name: person.name.to_string(),
                    email: person.email.to_string(),
                    zone: business,
                    language: None,
                },
            },
            Reader::Lead => Address {
                name: String::new(),
                email: self.staff.settings().lead.clone().ok_or("the staff file names no lead")?,
                zone: business,
                language: None,
            },
        })
    }
}
