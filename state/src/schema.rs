//! What a state's data means, recorded in the store and compared when it is opened.

use crate::codec::{self, Reader};
use crate::error::{Result, StateError};

/// How a state's values change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateKind {
    /// By deltas that combine; the fold writes merges and reads nothing. Whole values are allowed too.
    #[default]
    Combined,
    /// By whole values only.
    Stored,
}

impl StateKind {
    fn name(self) -> &'static str {
        match self {
            StateKind::Combined => "combined",
            StateKind::Stored => "stored",
        }
    }
}

/// What a state's data means. Whatever differs on reopening is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSchema {
    /// The state's name; its data goes by it.
    pub name: String,
    /// How many partitions its keys are divided into, for ever.
    pub partitions: u16,
    /// The name of the key type, chosen to survive recompilation and refactoring.
    pub key_type: String,
    /// The version of the key type.
    pub key_version: u32,
    /// The name of the value type.
    pub value_type: String,
    /// The version of the value type.
    pub value_version: u32,
    /// How values change.
    pub kind: StateKind,
}

impl StateSchema {
    /// Whether a store can hold such a state.
    pub fn check(&self) -> Result<()> {
        let named = !self.name.is_empty() && self.name.len() <= 200 && !self.name.contains('\0');
        let why = if !named {
            "its name must have 1 to 200 bytes and no NUL"
        } else if self.partitions == 0 || self.partitions == u16::MAX {
            "its number of partitions must be from 1 to 65534"
        } else {
            return Ok(());
        };
        Err(StateError::BadSchema {
            state: self.name.clone(),
            why: why.to_owned(),
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        codec::put_bytes(out, self.name.as_bytes());
        codec::put_varint(out, self.partitions.into());
        codec::put_bytes(out, self.key_type.as_bytes());
        codec::put_varint(out, self.key_version.into());
        codec::put_bytes(out, self.value_type.as_bytes());
        codec::put_varint(out, self.value_version.into());
        out.push(self.kind as u8);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<StateSchema> {
        Ok(StateSchema {
            name: reader.str("state name")?.to_owned(),
            partitions: reader.varint_as("partitions")?,
            key_type: reader.str("key type")?.to_owned(),
            key_version: reader.varint_as("key version")?,
            value_type: reader.str("value type")?.to_owned(),
            value_version: reader.varint_as("value version")?,
            kind: match reader.u8("state kind")? {
                0 => StateKind::Combined,
                1 => StateKind::Stored,
                _ => return Err(StateError::malformed("state kind is neither 0 nor 1")),
            },
        })
    }

    /// Every property in words, in the order in which differences are reported.
    fn properties(&self) -> [(&'static str, String); 4] {
        [
            ("number of partitions", self.partitions.to_string()),
            (
                "key type",
                format!("{} version {}", self.key_type, self.key_version),
            ),
            (
                "value type",
                format!("{} version {}", self.value_type, self.value_version),
            ),
            ("kind", self.kind.name().to_owned()),
        ]
    }
}

/// Compares the states of a store with those of the program.
pub(crate) fn compare(place: &str, stored: &[StateSchema], given: &[StateSchema]) -> Result<()> {
    let differs = |state: &str, what, stored: String, given: String| {
        Err(StateError::SchemaDiffers {
            place: place.to_owned(),
            state: state.to_owned(),
            what,
            stored,
            given,
        })
    };
    let position =
        |list: &[StateSchema], name: &str| match list.iter().position(|state| state.name == name) {
            Some(position) => format!("number {}", position + 1),
            None => "absent".to_owned(),
        };
    for state in stored.iter().chain(given) {
        let (was, is) = (position(stored, &state.name), position(given, &state.name));
        if was != is {
            return differs(&state.name, "position among the states", was, is);
        }
    }
    for (was, is) in stored.iter().zip(given) {
        for ((what, was_value), (_, is_value)) in was.properties().into_iter().zip(is.properties())
        {
            if was_value != is_value {
                return differs(&was.name, what, was_value, is_value);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(name: &str) -> StateSchema {
        StateSchema {
            name: name.to_owned(),
            partitions: 64,
            key_type: "text".to_owned(),
            key_version: 1,
            value_type: "count".to_owned(),
            value_version: 3,
            kind: StateKind::Combined,
        }
    }

    #[test]
    fn a_schema_comes_back() {
        let mut out = Vec::new();
        schema("words").encode(&mut out);
        let mut reader = Reader::new(&out);
        assert_eq!(StateSchema::decode(&mut reader).unwrap(), schema("words"));
        assert!(reader.is_empty());
    }

    #[test]
    fn every_difference_is_named_with_both_sides() {
        let mut other = schema("words");
        other.value_version = 4;
        let error = compare("here", &[schema("words")], &[other])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("value type was count version 3, now it is count version 4"),
            "{error}"
        );
        let error = compare(
            "here",
            &[schema("a"), schema("b")],
            &[schema("b"), schema("a")],
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("position among the states was number 1, now it is number 2"),
            "{error}"
        );
        let error = compare("here", &[schema("a")], &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("was number 1, now it is absent"), "{error}");
        assert!(compare("here", &[], &[schema("a")]).is_err());
        assert!(compare("here", &[schema("a")], &[schema("a")]).is_ok());
    }

    #[test]
    fn impossible_schemas_are_refused() {
        let none = StateSchema {
            partitions: 0,
            ..schema("a")
        };
        let unnamed = schema("");
        assert!(none.check().is_err() && unnamed.check().is_err() && schema("a").check().is_ok());
    }
}
