//! After a start: what is sealed and not folded comes back from the log.

use fulmar_state::{Partition, StateError, StateId, TxId};

use super::Recorder;
use crate::message::{Envelope, ToExecutor};
use crate::operator::owner_of;

impl Recorder {
    /// Brings what is sealed and not folded from the log back into the executors' overlays.
    pub(super) fn load(&mut self) -> Result<(), StateError> {
        type Sections = Vec<(StateId, Partition, Vec<u8>)>;
        let (executors, hosted) = (self.layout.executors, self.share.executors.clone());
        let first = hosted.start;
        let mut batch: Option<(TxId, Vec<Sections>)> = None;
        let send = |out: &mut Vec<Envelope>, batch: Option<(TxId, Vec<Sections>)>| {
            let Some((txid, all)) = batch else { return };
            out.extend((first..).zip(all).map(|(executor, sections)| {
                Envelope::Executor(executor, ToExecutor::Restore { txid, sections })
            }));
        };
        let (layout, out) = (&self.layout, &mut self.out);
        self.store.restore(&mut |txid, state, partition, section| {
            if batch.as_ref().is_none_or(|(loaded, _)| *loaded != txid) {
                send(out, batch.replace((txid, vec![Vec::new(); hosted.len()])));
            }
            let partitions = layout.states[usize::from(state.0)].0;
            let owner = owner_of(partition, partitions, executors);
            if let Some((_, all)) = &mut batch {
                all[usize::from(owner - first)].push((state, partition, section.to_vec()));
            }
            Ok(())
        })?;
        send(&mut self.out, batch);
        self.shown = self
            .store
            .sealed()
            .map_or(TxId::ZERO, |attempt| attempt.txid);
        let mut txid = self.store.published().next();
        while txid <= self.shown {
            let entry = self.store.entry(txid)?.unwrap_or_default();
            self.publish(txid, entry.outbox, entry.dead);
            txid = txid.next();
        }
        self.out.push(Envelope::Published(self.store.published()));
        Ok(())
    }
}
