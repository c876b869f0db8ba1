//! Who made a node, as text that a person can read in it.

use std::fmt::{self, Write as _};
use std::fs;
use std::process;

/// The most bytes of such a text that are looked at.
pub(super) const MOST_BYTES: usize = 4 << 10;
/// The most bytes of one value.
pub(super) const MOST_VALUE: usize = 256;

/// Who stands behind a node: a candidate, the owner of a lock, a member. It is there for people; nothing is decided by it.
///
/// ```
/// use fulmar_coordinator::zookeeper::Identity;
///
/// let who = Identity::of_this_process("1.2.3");
/// assert_eq!(who.to_string(), format!("pid {} on {}", std::process::id(), who.host));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The machine's name.
    pub host: String,
    /// The process's number on it.
    pub pid: u32,
    /// The program's version.
    pub version: String,
}

impl Identity {
    /// This process, which runs `version` of its program.
    #[must_use]
    pub fn of_this_process(version: &str) -> Identity {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let host = host.or_else(|| std::env::var("HOSTNAME").ok());
        let host = host
            .as_deref()
            .map(str::trim)
            .filter(|host| !host.is_empty());
        Identity {
            host: host.unwrap_or("localhost").to_owned(),
            pid: process::id(),
            version: version.to_owned(),
        }
    }

    /// The node's data: a line for each value.
    pub(super) fn encode(&self) -> String {
        let mut text = String::new();
        line(&mut text, "host", &self.host);
        line(&mut text, "pid", &self.pid.to_string());
        line(&mut text, "version", &self.version);
        text
    }

    /// Reads what is readable: other programs, or people, may have made the node.
    pub(super) fn decode(data: &[u8]) -> Identity {
        let text = String::from_utf8_lossy(&data[..data.len().min(MOST_BYTES)]);
        let value = |key| word(&text, key).unwrap_or("?").to_owned();
        Identity {
            host: value("host"),
            pid: word(&text, "pid")
                .and_then(|pid| pid.parse().ok())
                .unwrap_or(0),
            version: value("version"),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} on {}", self.pid, self.host)
    }
}

/// Adds a line `key value`. A value is cut to its bound, and what would break the line is replaced.
pub(super) fn line(text: &mut String, key: &str, value: &str) {
    let value: String = value
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    let mut end = value.len().min(MOST_VALUE);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = if end == 0 { "-" } else { &value[..end] };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{key} {value}");
}

/// The value of the first line of this key.
pub(super) fn word<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    (!value.is_empty() && value.len() <= MOST_VALUE).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_not_is_made_up() {
        let who = Identity {
            host: "a host".into(),
            pid: 4711,
            version: "0.1.0".into(),
        };
        assert_eq!(who.encode(), "host a host\npid 4711\nversion 0.1.0\n");
        assert_eq!(Identity::decode(who.encode().as_bytes()), who);
        let odd = Identity {
            host: "a\nb".into(),
            pid: 0,
            version: "é".repeat(500),
        };
        let read = Identity::decode(odd.encode().as_bytes());
        assert_eq!(
            (read.host.as_str(), read.version.len()),
            ("a?b", MOST_VALUE)
        );
        for data in [&b""[..], b"\xff\xfe", b"pid x\nhost\n", &[b'x'; 100_000]] {
            let read = Identity::decode(data);
            assert_eq!(
                (read.host.as_str(), read.pid, read.version.as_str()),
                ("?", 0, "?")
            );
        }
    }
}
