//! Another topology that comes upon a world's ledger.

use fulmar_coordinator::{Error, Retry, Term as Candidate, open_term};
use futures::FutureExt as _;
use futures::future::ready;

use super::super::oracle::Broken;
use super::World;

impl World {
    /// The ledger is refused to another topology, and to one that differs.
    pub(super) fn refuse_others(&self) -> Result<(), Broken> {
        let named = Candidate {
            topology: "another world".into(),
            ..self.candidate.clone()
        };
        let differs = Candidate {
            fingerprint: self.candidate.fingerprint.clone().line("more", "of it"),
            ..self.candidate.clone()
        };
        for other in [named, differs] {
            let mut ledger = self.ledger.copy();
            let mut retry = |_, _: &str| ready(Retry::GiveUp).boxed();
            let opened = open_term(&mut ledger, &other, &mut retry).now_or_never();
            if !matches!(opened, Some(Err(Error::Fingerprint { .. }))) {
                let lines = other.fingerprint.lines().len();
                return Err(format!(
                    "the ledger of topology {:?} of {} lines is opened for {:?} of {lines}",
                    self.candidate.topology,
                    self.candidate.fingerprint.lines().len(),
                    other.topology
                ));
            }
        }
        Ok(())
    }
}
