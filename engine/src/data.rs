//! What a record must be: bounds as marker traits with blanket implementations, never on structs.

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use fulmar_state::key::Key;

/// A record that flows through operators of one stage.
pub trait Data: Clone + Send + Sync + 'static {}

impl<T: Clone + Send + Sync + 'static> Data for T {}

/// A record that may leave its executor: through an exchange, a spout, or an outbox.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross an exchange",
    label = "this record type leaves its executor here",
    note = "derive `Clone`, `serde::Serialize` and `serde::Deserialize` for it"
)]
pub trait ExchangeData: Data + Serialize + DeserializeOwned {}

impl<T: Data + Serialize + DeserializeOwned> ExchangeData for T {}
