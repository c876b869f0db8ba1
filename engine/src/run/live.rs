//! Live settings: what an operator writes into the `config` node, applied at a batch boundary and acknowledged.

use std::time::Duration;

use fulmar_coordinator::zookeeper::{LiveConfig, Session, TopologyPaths};
use fulmar_coordinator::{
    Error as CoordinatorError, LiveSettings, Result as CoordinatorResult, Settings, Tuning,
    WriterId,
};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::mailbox::ToDriver;
use super::standby::{OnLog, Standing, Teller};
use crate::error::Result;

/// How long to wait before something that went wrong at the servers is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Follows the `config` node of a topology, over standing by and leading.
pub(super) struct Follower {
    session: Session,
    live: LiveConfig,
    on_log: Option<OnLog>,
    teller: Teller,
    /// What counts: the newest that was not refused.
    settings: LiveSettings,
    version: i32,
}

impl Follower {
    /// Takes up what the node says now; if that is refused, what was applied last.
    pub(super) async fn begin(
        session: &Session,
        paths: &TopologyPaths,
        id: WriterId,
        on_log: Option<OnLog>,
        teller: &Teller,
    ) -> Result<Follower> {
        let mut follower = Follower {
            session: session.clone(),
            live: LiveConfig::watch(session.clone(), paths.clone(), id).await?,
            on_log,
            teller: teller.clone(),
            settings: LiveSettings::default(),
            version: 0,
        };
        if !follower.next().await?
            && let Some((version, settings)) = follower.live.last_applied().await?
        {
            (follower.version, follower.settings) = (version, settings);
            // It was accepted once; the program may have changed since, and then keeps its own.
            drop(follower.set_log());
        }
        if !follower.settings.is_empty() {
            follower.tell();
        }
        Ok(follower)
    }

    /// Waits for the next change; false if it was refused. Refusals are acknowledged and told here.
    async fn next(&mut self) -> CoordinatorResult<bool> {
        let change = self.live.next().await?;
        let taken = change.outcome.and_then(|settings| {
            let before = std::mem::replace(&mut self.settings, settings);
            self.set_log().inspect_err(|_| self.settings = before)
        });
        let Err(what) = taken else {
            self.version = change.version;
            return Ok(true);
        };
        let version = change.version;
        self.live
            .acknowledge(version, &format!("refused: {what}"))
            .await?;
        self.teller
            .tell(&Standing::SettingsRefused { version, what });
        Ok(false)
    }

    fn set_log(&self) -> std::result::Result<(), String> {
        match &self.on_log {
            Some(set) => set(self.settings.log.as_deref()),
            None if self.settings.log.is_some() => {
                Err("log: this program does not let its log be changed".into())
            }
            None => Ok(()),
        }
    }

    /// While standing by: takes note of one change.
    pub(super) async fn note(&mut self) -> Result<()> {
        if self.next().await? {
            self.live.acknowledge(self.version, "noted").await?;
            self.tell();
        }
        Ok(())
    }

    fn tell(&self) {
        self.teller.tell(&Standing::Settings {
            version: self.version,
            text: self.settings.to_string(),
        });
    }

    /// What counts now, on top of the program's own settings.
    pub(super) fn tuning(&self, base: &Settings) -> Tuning {
        self.settings.apply(base, false)
    }

    /// Says that what counts now is applied.
    async fn applied(&mut self) -> CoordinatorResult<()> {
        self.live
            .record_applied(self.version, &self.settings)
            .await?;
        self.live.acknowledge(self.version, "applied").await
    }
}

/// While leading: brings every change to the driver. Ends with the session or the term.
pub(super) async fn lead(
    mut follower: Follower,
    base: Settings,
    driver: UnboundedSender<ToDriver>,
) {
    // The term began with what counted then.
    let mut outcome = follower.applied().await;
    loop {
        match &outcome {
            Ok(()) => {}
            Err(CoordinatorError::SessionLost { .. }) => return,
            Err(error) => {
                tracing::warn!(%error, "live settings could not be read or acknowledged; it is tried again");
                follower.session.pause(AGAIN).await;
            }
        }
        outcome = match follower.next().await {
            Ok(true) => {
                let (done, wait) = oneshot::channel();
                if driver
                    .send(ToDriver::Tune(follower.tuning(&base), done))
                    .is_err()
                    || wait.await.is_err()
                {
                    return;
                }
                follower.tell();
                follower.applied().await
            }
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
    }
}
