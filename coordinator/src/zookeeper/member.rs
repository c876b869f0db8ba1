//! What a process says of itself to the others.

use super::identity::{self, Identity};
use crate::error::{Error, Result};

/// The first line's word, and the format that this program writes and reads.
const FORMAT: (&str, u32) = ("fulmar-worker", 1);
/// The most capabilities.
const MOST_CAPABILITIES: usize = 64;

/// A process of a topology, as it shows itself to the others.
///
/// ```
/// use fulmar_coordinator::zookeeper::{Identity, Member};
///
/// let member = Member {
///     who: Identity { host: "node7".into(), pid: 4711, version: "0.1.0".into() },
///     address: None,
///     capabilities: vec!["coordinate".into(), "work".into()],
/// };
/// let text = "fulmar-worker 1\nhost node7\npid 4711\nversion 0.1.0\naddress -\ncapabilities coordinate work\n";
/// assert_eq!(member.encode(), text);
/// assert_eq!(Member::decode("/fulmar/t/workers/x", text.as_bytes())?, member);
/// # Ok::<(), fulmar_coordinator::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Host, process and version.
    pub who: Identity,
    /// `HOST:PORT` where it can be spoken to; none if nowhere.
    pub address: Option<String>,
    /// What it can do: words without spaces.
    pub capabilities: Vec<String>,
}

impl Member {
    /// The node's data, as lines of text. Values are cut to 256 bytes each, and spaces in an address or a capability are replaced by `?`.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{} {}\n{}", FORMAT.0, FORMAT.1, self.who.encode());
        identity::line(
            &mut text,
            "address",
            &unspaced(self.address.as_deref().unwrap_or("-")),
        );
        let words: Vec<String> = self
            .capabilities
            .iter()
            .map(|word| unspaced(word))
            .collect();
        // Whole words only, where they do not fit.
        let mut line = String::new();
        for word in words
            .iter()
            .filter(|word| !word.is_empty())
            .take(MOST_CAPABILITIES)
        {
            if line.len() + 1 + word.len() > identity::MOST_VALUE {
                break;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        identity::line(&mut text, "capabilities", &line);
        text
    }

    /// Reads the data of the node `path`. Lines of other keys are passed over: a later version may write more.
    ///
    /// # Errors
    ///
    /// [`Error::ChangedByHand`] says what is wrong with it.
    pub fn decode(path: &str, data: &[u8]) -> Result<Member> {
        let wrong = |what: String| {
            let what = format!("{what}; delete it if no process of ours made it");
            Error::ChangedByHand {
                path: path.to_owned(),
                what,
            }
        };
        if data.len() > identity::MOST_BYTES {
            return Err(wrong(format!(
                "it has {} bytes, more than {}",
                data.len(),
                identity::MOST_BYTES
            )));
        }
        let text = std::str::from_utf8(data).map_err(|_| wrong("it is no text".into()))?;
        let format = text.lines().next().unwrap_or_default();
        if format != format!("{} {}", FORMAT.0, FORMAT.1) {
            return Err(wrong(format!(
                "it begins with {format:?}, not with \"{} {}\"",
                FORMAT.0, FORMAT.1
            )));
        }
        let value = |key| match identity::word(text, key) {
            Some(value) => Ok(value),
            None => Err(wrong(format!("there is no {key} in it"))),
        };
        let pid = value("pid")?;
        let optional = |value: &str| (value != "-").then(|| value.to_owned());
        Ok(Member {
            who: Identity {
                host: value("host")?.to_owned(),
                pid: pid
                    .parse()
                    .map_err(|_| wrong(format!("its pid {pid:?} is no number")))?,
                version: value("version")?.to_owned(),
            },
            address: optional(value("address")?),
            capabilities: optional(value("capabilities")?)
                .iter()
                .flat_map(|words| words.split(' '))
                .take(MOST_CAPABILITIES)
                .map(str::to_owned)
                .collect(),
        })
    }
}

fn unspaced(word: &str) -> String {
    word.replace(char::is_whitespace, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(address: Option<&str>, capabilities: &[&str]) -> Member {
        Member {
            who: Identity {
                host: "h".into(),
                pid: 7,
                version: "1".into(),
            },
            address: address.map(str::to_owned),
            capabilities: capabilities.iter().map(|&word| word.to_owned()).collect(),
        }
    }

    #[test]
    fn members_are_read_as_they_were_written() {
        for member in [
            member(None, &[]),
            member(Some("[::1]:5"), &["a"]),
            member(Some("h:1"), &["a", "b", "c"]),
        ] {
            assert_eq!(Member::decode("/x", member.encode().as_bytes()), Ok(member));
        }
        let long = "x".repeat(300);
        let many = vec!["capability"; 1_000];
        let bounded = Member::decode("/x", member(Some(&long), &many).encode().as_bytes()).unwrap();
        assert_eq!(
            bounded.address.map(|address| address.len()),
            Some(identity::MOST_VALUE)
        );
        assert!((1..64).contains(&bounded.capabilities.len()));
        assert!(bounded.capabilities.iter().all(|word| word == "capability"));
    }

    #[test]
    fn what_is_no_member_is_refused_by_name() {
        let good = member(None, &["a"]).encode();
        let large = good.clone() + &"x".repeat(5_000);
        for (text, what) in [
            ("", "begins with"),
            ("fulmar-worker 2\nhost h\n", "fulmar-worker 2"),
            (&good.replace("pid 7", "pid seven"), "\"seven\""),
            (&good.replace("version 1\n", ""), "no version"),
            (&large, "more than 4096"),
        ] {
            let error = Member::decode("/fulmar/t/workers/x", text.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(what) && error.contains("/fulmar/t/workers/x"),
                "{text}: {error}"
            );
        }
        assert!(
            Member::decode("/x", b"fulmar-worker 1\n\xff")
                .unwrap_err()
                .to_string()
                .contains("no text")
        );
    }
}
