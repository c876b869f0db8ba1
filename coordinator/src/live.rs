//! The settings that people may change while a topology runs, as text.

use std::collections::BTreeMap;
use std::fmt;

use crate::event::Event;
use crate::settings::{Limits, Settings};

/// The longest text of live settings, in bytes.
const MAX_TEXT: usize = 64 << 10;
/// The most batches in flight that a live setting may ask for.
const MAX_PENDING: u64 = 1024;
/// The longest log directive, in bytes.
const MAX_LOG: usize = 4 << 10;
/// So many mistakes are named; a text that is none at all has as many as it has words.
const MAX_MISTAKES: usize = 20;
/// So much of a wrong word is shown, in characters.
const SHOWN: usize = 60;

const KEYS: [&str; 7] = [
    "batch_records",
    "batch_bytes",
    "batch_time_ms",
    "max_pending",
    "timeout_ms",
    "paused",
    "log",
];

/// Settings that may change while a topology runs. What is absent keeps the program's own setting.
///
/// As text they are words `key=value` between white space; `#` begins a comment, to the line's end.
///
/// | key | value |
/// | --- | --- |
/// | `batch_records`, `batch_bytes`, `batch_time_ms` | where a batch ends at the latest ([`Limits`]), each at least 1 |
/// | `max_pending` | batches in flight, 1 to 1024 |
/// | `timeout_ms` | so long a batch may show no progress, in milliseconds, at least 1 |
/// | `paused` | `true` or `false` |
/// | `log` | what is logged, such as `info` or `fulmar=debug,info`; whether it means anything is for the program to say |
///
/// ```
/// use fulmar_coordinator::{LiveSettings, Settings};
///
/// let live = LiveSettings::parse("max_pending=2  # one less than usual\nbatch_time_ms=50")?;
/// assert_eq!(live.to_string(), "batch_time_ms=50 max_pending=2");
///
/// let tuning = live.apply(&Settings::default(), false);
/// assert_eq!((tuning.max_pending, tuning.limits.time_ms), (2, 50));
/// assert_eq!(tuning.limits.records, Settings::default().limits.records);
///
/// let mistakes = LiveSettings::parse("max_pendign=2 timeout_ms=0").unwrap_err();
/// assert!(mistakes.contains("max_pending") && mistakes.contains("timeout_ms"));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct LiveSettings {
    /// Records of one spout in a batch.
    pub batch_records: Option<u64>,
    /// Bytes of one spout in a batch.
    pub batch_bytes: Option<u64>,
    /// Milliseconds that reading a batch may take.
    pub batch_time_ms: Option<u64>,
    /// How many batches may be in flight.
    pub max_pending: Option<usize>,
    /// A batch that shows no progress for so long, in milliseconds, has failed.
    pub timeout_ms: Option<u64>,
    /// Whether batches are issued at all.
    pub paused: Option<bool>,
    /// What is logged, as a directive of the program's log.
    pub log: Option<String>,
}

/// What live settings and the program's own come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuning {
    /// Where a batch ends.
    pub limits: Limits,
    /// How many batches may be in flight.
    pub max_pending: usize,
    /// A batch that shows no progress for so long, in milliseconds, has failed.
    pub timeout_ms: u64,
    /// Whether batches are issued at all.
    pub paused: bool,
}

impl Tuning {
    /// What tells a coordinator.
    #[must_use]
    pub fn events(&self) -> [Event; 4] {
        let Tuning {
            limits,
            max_pending,
            timeout_ms,
            paused,
        } = *self;
        [
            Event::SetLimits(limits),
            Event::SetMaxPending(max_pending),
            Event::SetTimeout { timeout_ms },
            if paused { Event::Pause } else { Event::Resume },
        ]
    }
}

impl LiveSettings {
    /// Reads the text form. A text with a mistake is refused as a whole.
    ///
    /// # Errors
    ///
    /// Every mistake (of very many the first ones), with its line.
    pub fn parse(text: &str) -> Result<LiveSettings, String> {
        if text.len() > MAX_TEXT {
            return Err(format!(
                "the text has {} bytes, more than the {MAX_TEXT} that live settings may have",
                text.len()
            ));
        }
        let mut live = LiveSettings::default();
        let mut lines = BTreeMap::new();
        let mut mistakes = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let words = line.split_once('#').map_or(line, |(words, _)| words);
            for word in words.split_whitespace() {
                if let Err(mistake) = live.take(word, number, &mut lines) {
                    mistakes.push(format!("line {number}: {mistake}"));
                }
            }
        }
        if mistakes.is_empty() {
            return Ok(live);
        }
        let more = mistakes.len().saturating_sub(MAX_MISTAKES);
        mistakes.truncate(MAX_MISTAKES);
        if more > 0 {
            mistakes.push(format!("and {more} more"));
        }
        Err(mistakes.join("; "))
    }

    fn take<'a>(
        &mut self,
        word: &'a str,
        line: usize,
        lines: &mut BTreeMap<&'a str, usize>,
    ) -> Result<(), String> {
        let Some((key, value)) = word.split_once('=') else {
            return Err(format!("{} is no key=value", shown(word)));
        };
        if !KEYS.contains(&key) {
            return Err(unknown(key));
        }
        if let Some(before) = lines.insert(key, line) {
            return Err(format!("{key} is set twice, first in line {before}"));
        }
        match key {
            "batch_records" => self.batch_records = Some(number(key, value, u64::MAX)?),
            "batch_bytes" => self.batch_bytes = Some(number(key, value, u64::MAX)?),
            "batch_time_ms" => self.batch_time_ms = Some(number(key, value, u64::MAX)?),
            "max_pending" => {
                let most = number(key, value, MAX_PENDING)?;
                self.max_pending = usize::try_from(most).ok();
            }
            "timeout_ms" => self.timeout_ms = Some(number(key, value, u64::MAX)?),
            "paused" => {
                let paused = value
                    .parse()
                    .map_err(|_| format!("{key}={} is neither true nor false", shown(value)))?;
                self.paused = Some(paused);
            }
            _ => self.log = Some(directive(value)?),
        }
        Ok(())
    }

    /// What these settings and the program's own come to: `base` as it was at the start, and `paused` whether the
    /// program itself has paused the topology.
    #[must_use]
    pub fn apply(&self, base: &Settings, paused: bool) -> Tuning {
        Tuning {
            limits: Limits {
                records: self.batch_records.unwrap_or(base.limits.records),
                bytes: self.batch_bytes.unwrap_or(base.limits.bytes),
                time_ms: self.batch_time_ms.unwrap_or(base.limits.time_ms),
            },
            max_pending: self.max_pending.unwrap_or(base.max_pending),
            timeout_ms: self.timeout_ms.unwrap_or(base.timeout_ms),
            paused: self.paused.unwrap_or(paused),
        }
    }

    /// Whether nothing is set, so that the program's own settings hold.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == LiveSettings::default()
    }
}

/// The settings on one line, in one order; [`LiveSettings::parse`] reads it back.
impl fmt::Display for LiveSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let values = [
            number(self.batch_records),
            number(self.batch_bytes),
            number(self.batch_time_ms),
            self.max_pending.map(|most| most.to_string()),
            number(self.timeout_ms),
            self.paused.map(|paused| paused.to_string()),
            self.log.clone(),
        ];
        let set = KEYS.iter().zip(values);
        let words = set.filter_map(|(key, value)| Some(format!("{key}={}", value?)));
        f.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}

fn number(key: &str, text: &str, most: u64) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && (1..=most).contains(&number) => Ok(number),
        _ if !digits => Err(format!("{key}={} is no number", shown(text))),
        Ok(0) => Err(format!("{key}=0: it must be at least 1")),
        _ => Err(format!("{key}={}: it may be at most {most}", shown(text))),
    }
}

fn directive(text: &str) -> Result<String, String> {
    let parts = text.len() <= MAX_LOG && text.split(',').all(|part| !part.is_empty());
    if parts && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    let text = shown(text);
    Err(format!(
        "log={text} is no log directive; write a level or target=level, several with commas"
    ))
}

fn unknown(key: &str) -> String {
    let nearest = KEYS.iter().min_by_key(|known| distance(key, known));
    let near = nearest.filter(|known| distance(key, known) <= 3);
    let hint = near.map_or_else(
        || format!("the keys are {}", KEYS.join(", ")),
        |near| format!("is {near} meant?"),
    );
    format!("there is no setting {}; {hint}", shown(key))
}

/// How many letters have to be put in, left out or changed to make one word the other; at most as many as a key has if a word is far longer.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 2 * b.len() {
        return b.len();
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_key_is_read_and_what_is_absent_is_the_programs_own() {
        let text = "# why\nbatch_records=1 batch_bytes=2\t batch_time_ms=3# here\r\nmax_pending=1024\n\
                    timeout_ms=5 paused=true log=fulmar=debug,info\n";
        let live = LiveSettings::parse(text).unwrap();
        let canonical = "batch_records=1 batch_bytes=2 batch_time_ms=3 max_pending=1024 timeout_ms=5 paused=true log=fulmar=debug,info";
        assert_eq!(live.to_string(), canonical);
        let base = Settings::default();
        let limits = Limits {
            records: 1,
            bytes: 2,
            time_ms: 3,
        };
        let all = Tuning {
            limits,
            max_pending: 1024,
            timeout_ms: 5,
            paused: true,
        };
        assert_eq!(live.apply(&base, false), all);

        let none = LiveSettings::parse("  # nothing\n\n").unwrap();
        assert!(none.is_empty() && none.to_string().is_empty());
        for paused in [false, true] {
            let own = Tuning {
                limits: base.limits,
                max_pending: base.max_pending,
                timeout_ms: base.timeout_ms,
                paused,
            };
            assert_eq!(none.apply(&base, paused), own);
        }
        let resumed = LiveSettings::parse("paused=false").unwrap();
        assert!(!resumed.apply(&base, true).paused);
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_what_would_be_right() {
        for (text, said) in [
            (
                "max_pendign=2",
                "line 1: there is no setting \"max_pendign\"; is max_pending meant?",
            ),
            (
                "\nbatch=2",
                "line 2: there is no setting \"batch\"; the keys are batch_records, batch_bytes,",
            ),
            ("Paused=true", "is paused meant?"),
            ("=1", "there is no setting \"\""),
            ("paused", "\"paused\" is no key=value"),
            ("paused=yes", "paused=\"yes\" is neither true nor false"),
            (
                "paused=true\n\npaused=true",
                "line 3: paused is set twice, first in line 1",
            ),
            ("batch_records=0", "batch_records=0: it must be at least 1"),
            ("batch_bytes=00", "batch_bytes=0: it must be at least 1"),
            ("timeout_ms=+5", "timeout_ms=\"+5\" is no number"),
            ("timeout_ms=", "timeout_ms=\"\" is no number"),
            ("batch_time_ms=1.5", "is no number"),
            (
                "batch_time_ms=18446744073709551616",
                "it may be at most 18446744073709551615",
            ),
            (
                "max_pending=1025",
                "max_pending=\"1025\": it may be at most 1024",
            ),
            ("log=", "is no log directive"),
            ("log=info,,x=debug", "is no log directive"),
            ("log=ünfo", "is no log directive"),
        ] {
            let mistake = LiveSettings::parse(text).unwrap_err();
            assert!(mistake.contains(said), "{text:?}: {mistake}");
        }
    }

    #[test]
    fn all_mistakes_are_named_at_once_and_endless_ones_are_cut() {
        let mistakes = LiveSettings::parse("max_pending=0 paused=1\nx=1 timeout_ms=5").unwrap_err();
        let said = mistakes
            .split("; ")
            .filter(|part| part.starts_with("line "))
            .count();
        assert_eq!(said, 3, "{mistakes}");

        let many = LiveSettings::parse(&"word ".repeat(1000)).unwrap_err();
        assert!(
            many.ends_with("and 980 more") && many.len() < 2000,
            "{many}"
        );
        let long = LiveSettings::parse(&"ü".repeat(30_000)).unwrap_err();
        assert!(long.len() < 300, "{long}");
        let longer = LiveSettings::parse(&" ".repeat(MAX_TEXT + 1)).unwrap_err();
        assert!(longer.contains("65537 bytes"), "{longer}");
        assert!(LiveSettings::parse(&" ".repeat(MAX_TEXT)).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(
            numbers in prop::collection::vec(prop::option::of(1..=u64::MAX), 4),
            max_pending in prop::option::of(1..=1024_usize),
            paused: Option<bool>,
            log in prop::option::of("[a-z]{1,9}(=[a-z]{1,9})?"),
        ) {
            let [batch_records, batch_bytes, batch_time_ms, timeout_ms] = numbers[..] else { unreachable!() };
            let live = LiveSettings { batch_records, batch_bytes, batch_time_ms, max_pending, timeout_ms, paused, log };
            prop_assert_eq!(LiveSettings::parse(&live.to_string()), Ok(live));
        }

        #[test]
        fn no_text_is_too_odd_to_be_answered(text in "(.|[a-z_]{0,14}=|\n){0,40}") {
            let _ = LiveSettings::parse(&text);
        }
    }
}
