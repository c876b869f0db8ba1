//! What coordinators ask of the ledger: carried out, kept back, or refused for good when their session has ended.

use fulmar_coordinator::LedgerRecord;

use super::super::fault::Kind;
use super::super::ledger::{Answer, Request};
use super::super::links::{Actor, Mail};
use super::super::oracle::Broken;
use super::World;

/// How long a coordinator waits for the ledger's answer, in microseconds.
const DEADLINE: u64 = 50_000;

impl World {
    /// A message reaches the ledger.
    pub(super) fn deliver_to_ledger(&mut self, from: usize, mail: Mail) -> Result<(), Broken> {
        match (self.cast.actor(from), mail) {
            (Actor::Term(slot), Mail::Request(request)) => match self.cut_off(slot, request)? {
                Some(request) => self.answer(slot, request),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// A request that comes to the ledger while the two do not hear each other: lost, answered without being heard, or held up.
    fn cut_off(&mut self, slot: usize, request: Request) -> Result<Option<Request>, Broken> {
        let now = self.now;
        self.weather.ledger_cuts.retain(|cut| cut.until > now);
        let mut cuts = self.weather.ledger_cuts.iter_mut();
        let Some(cut) = cuts.find(|cut| cut.from == Some(100 + slot)) else {
            return Ok(Some(request));
        };
        let (until, first) = (cut.until, !std::mem::replace(&mut cut.struck, true));
        if first {
            self.struck(Kind::LedgerCut);
        }
        let from = self.cast.index(Actor::Term(slot));
        let ledger = self.cast.index(Actor::Ledger);
        match self.random.below(3) {
            0 => {
                self.links.push_front(from, ledger, Mail::Request(request));
                self.links.hold(from, ledger, until);
            }
            how => {
                let unanswered: Answer = request.unanswered();
                if how == 1 {
                    drop(self.apply(slot, request)?);
                }
                self.links.push(ledger, from, Mail::Answer(unanswered));
                self.links.hold(ledger, from, now + DEADLINE);
            }
        }
        Ok(None)
    }

    /// The ledger carries a request out, unless the session that it came in has ended.
    fn apply(&mut self, slot: usize, request: Request) -> Result<Answer, Broken> {
        let term = self.terms[slot].as_ref();
        if term.is_some_and(|term| term.expired) {
            return Ok(request.expired());
        }
        let mut applied = Vec::new();
        let answer = self.ledger.answer(request, self.step, &mut applied);
        self.sealed(&applied)?;
        Ok(answer)
    }

    /// A request reaches the ledger.
    fn answer(&mut self, slot: usize, request: Request) -> Result<(), Broken> {
        let answer = self.apply(slot, request)?;
        let from = self.cast.index(Actor::Ledger);
        let to = self.cast.index(Actor::Term(slot));
        self.links.push(from, to, Mail::Answer(answer));
        Ok(())
    }

    /// The ledger has applied writes.
    pub(super) fn sealed(&mut self, applied: &[LedgerRecord]) -> Result<(), Broken> {
        for record in applied {
            self.note(record.txid().0 << 16 | record.epoch.0);
            self.tell(|| {
                format!(
                    "the ledger holds {:?} of epoch {}",
                    record.sealed, record.epoch
                )
            });
            self.oracle.applied(record, self.scene.as_mut())?;
        }
        Ok(())
    }

    /// The newest coordinator's session ends: another one is elected, and later it hears of it.
    pub(super) fn expire(&mut self, ms: u64) -> Result<(), Broken> {
        let leader = self.leader.and_then(|slot| self.terms[slot].as_mut());
        let Some(term) = leader else {
            return Ok(());
        };
        term.expired = true;
        term.deposed = self.now + ms * 1000;
        self.struck(Kind::Expire);
        self.start_term()
    }
}
