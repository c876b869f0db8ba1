//! What a state is called, and how it is laid out.

/// A state's name, partitions, and the versions of its key and value types. A name alone will do.
///
/// ```
/// use fulmar::StateSpec;
///
/// let counts = StateSpec::named("counts").partitions(16).value_version(2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSpec {
    pub(crate) name: String,
    pub(crate) partitions: u16,
    pub(crate) key_version: u32,
    pub(crate) value_version: u32,
}

impl StateSpec {
    /// A state of 64 partitions, its types in their first version.
    pub fn named(name: impl Into<String>) -> Self {
        StateSpec {
            name: name.into(),
            partitions: 64,
            key_version: 1,
            value_version: 1,
        }
    }

    /// How many fixed shares the keys are split into; set when the state is first made, and fixed for ever.
    #[must_use]
    pub fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = partitions;
        self
    }

    /// The version of the key type: raise it when the meaning of its bytes changes.
    #[must_use]
    pub fn key_version(mut self, version: u32) -> Self {
        self.key_version = version;
        self
    }

    /// The version of the value type: raise it when the meaning of its bytes changes.
    #[must_use]
    pub fn value_version(mut self, version: u32) -> Self {
        self.value_version = version;
        self
    }
}

impl From<&str> for StateSpec {
    fn from(name: &str) -> Self {
        StateSpec::named(name)
    }
}

impl From<String> for StateSpec {
    fn from(name: String) -> Self {
        StateSpec::named(name)
    }
}
