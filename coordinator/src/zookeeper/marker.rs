//! What a topology's node says: whose it is, and of the ledger below it.

use crate::ledger::RecordError;

const PROGRAM: &str = "fulmar-topology";
/// The format of the node layout.
const FORMAT: u32 = 1;

/// A topology that has no ledger yet.
pub(super) const BEGUN: &[u8] = b"fulmar-topology 1 begun\n";

/// What the node says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// Nothing: it was made on the way to a node below it.
    Blank,
    /// The ledger was never written.
    Begun,
    /// It was. The ledger's version is its node's version and this, since each write moves both on by one. So a change
    /// that the program did not make is noticed, whatever text it left: it moves on the node's version alone.
    Written { from: i64 },
}

impl Marker {
    /// What the first write of a ledger leaves here, whose node begins at version 0.
    pub(super) const FIRST: i64 = 1;

    pub(super) fn parse(text: &[u8]) -> Result<Marker, RecordError> {
        if text.is_empty() {
            return Ok(Marker::Blank);
        }
        let text = String::from_utf8_lossy(text);
        let mut words = text.split_ascii_whitespace();
        let format = match (words.next(), words.next().map(str::parse)) {
            (Some(PROGRAM), Some(Ok(format))) => format,
            _ => {
                let begins: String = text.chars().take(80).collect();
                return Err(RecordError::OtherProgram(format!("it says {begins:?}")));
            }
        };
        if format != FORMAT {
            return Err(RecordError::OtherFormat(format));
        }
        match (words.next(), words.next().map(str::parse), words.next()) {
            (None, _, _) => Ok(Marker::Written {
                from: Marker::FIRST,
            }),
            (Some("begun"), None, _) => Ok(Marker::Begun),
            (Some("from"), Some(Ok(from)), None) => Ok(Marker::Written { from }),
            _ => Err(RecordError::Corrupt(format!(
                "it says {text:?}, which no program writes"
            ))),
        }
    }

    /// What it says when there is a ledger.
    pub(super) fn written(from: i64) -> String {
        match from {
            Marker::FIRST => format!("{PROGRAM} {FORMAT}\n"),
            from => format!("{PROGRAM} {FORMAT} from {from}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        assert_eq!(Marker::parse(b""), Ok(Marker::Blank));
        assert_eq!(Marker::parse(BEGUN), Ok(Marker::Begun));
        for from in [Marker::FIRST, 2, 1 << 40, 0, -7] {
            assert_eq!(
                Marker::parse(Marker::written(from).as_bytes()),
                Ok(Marker::Written { from })
            );
        }
        assert_eq!(
            Marker::parse(b"fulmar-topology 2\n"),
            Err(RecordError::OtherFormat(2))
        );
        for text in [
            "fulmar-topology 1 x",
            "fulmar-topology 1 from",
            "fulmar-topology 1 from 1 2",
            "fulmar-topology 1 begun 2",
        ] {
            assert!(
                matches!(Marker::parse(text.as_bytes()), Err(RecordError::Corrupt(_))),
                "{text}"
            );
        }
        for text in [
            "x",
            "fulmar-topology",
            "fulmar-topology x",
            "\n",
            "fulmar-topologyx 1",
        ] {
            assert!(
                matches!(
                    Marker::parse(text.as_bytes()),
                    Err(RecordError::OtherProgram(_))
                ),
                "{text}"
            );
        }
    }
}
