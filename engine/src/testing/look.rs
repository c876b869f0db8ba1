//! Looks into a state whose types are forgotten: made where they are known.

use fulmar_state::{AnyShard, Shard, TxId, Value, codec};

use crate::data::Key;
use crate::operator::Merging;
use crate::plan::short_type_name;

/// A shard's keys and values, encoded, as of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) txid: TxId,
    pub(crate) entries: Vec<(Vec<u8>, Vec<u8>)>,
}

/// How a state of some types is read.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    /// The types' full names.
    pub(super) types: [&'static str; 2],
    /// All that a shard shows; nothing if its disk fails.
    pub(crate) all: fn(&mut dyn AnyShard) -> Option<Seen>,
    /// A key in words.
    pub(crate) key: fn(&[u8]) -> String,
    /// A value in words.
    pub(crate) value: fn(&[u8]) -> String,
}

impl Look {
    pub(crate) fn of<K: Key, V: Value>() -> Self {
        Look {
            types: [std::any::type_name::<K>(), std::any::type_name::<V>()],
            all: all::<V>,
            key: key::<K>,
            value: show::<V>,
        }
    }
}

fn all<V: Value>(shard: &mut dyn AnyShard) -> Option<Seen> {
    let shard: &mut Shard<V, Merging<V>> = shard
        .as_any_mut()
        .downcast_mut()
        .expect("the plan gives each state one type");
    let view = shard.view();
    let mut entries = Vec::new();
    for partition in view.owned() {
        for entry in view.scan(*partition, b"", None).ok()? {
            let (key, value) = entry.ok()?;
            let mut bytes = Vec::new();
            codec::encode(&value, &mut bytes).ok()?;
            entries.push((key.to_vec(), bytes));
        }
    }
    let txid = view.txid();
    Some(Seen { txid, entries })
}

/// Keys need not tell themselves: numbers and texts are read, others shown as they are encoded.
fn key<K: Key>(bytes: &[u8]) -> String {
    let name = short_type_name::<K>();
    let wide = |bytes: &[u8]| {
        let number = bytes
            .iter()
            .fold(0u128, |number, byte| number << 8 | u128::from(*byte));
        (bytes.len() <= 16).then_some(number)
    };
    let number = match name.as_bytes() {
        [b'u', digits @ ..] if digits.first().is_some_and(u8::is_ascii_digit) => {
            wide(bytes).map(|number| number.to_string())
        }
        [b'i', digits @ ..] if digits.first().is_some_and(u8::is_ascii_digit) => {
            // The sign's bit is flipped, so that negative numbers come first.
            let middle = 1u128 << (8 * bytes.len().clamp(1, 16) - 1);
            wide(bytes).map(|number| (number.wrapping_sub(middle) as i128).to_string())
        }
        _ => None,
    };
    let text = || std::str::from_utf8(bytes).ok();
    let text = || text().filter(|text| !text.is_empty() && !text.chars().any(char::is_control));
    number
        .or_else(|| text().map(|text| format!("{text:?}")))
        .unwrap_or_else(|| format!("{name} {bytes:02x?}"))
}

/// An encoded value in words.
pub(super) fn show<T: Value>(bytes: &[u8]) -> String {
    match codec::decode::<T>(bytes) {
        Ok(value) => format!("{:?}", serde_fmt::to_debug(&value)),
        Err(_) => format!("{bytes:02x?}"),
    }
}
