//! Sizes in bytes as people write them: `512MiB`, `1GB`, `64k`.

/// Parses a size: a whole number, and perhaps a unit of any case.
///
/// `k`, `M`, `G`, `T` and `KiB`, `MiB`, … are powers of 1024; `kB`, `MB`, … powers of 1000; `B` or nothing is bytes.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let refuse = || {
        format!("{text:?} is not a size: give a whole number and a unit, like 512MiB, 1GB or 64k")
    };
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let (base, power): (u64, u32) = match unit.as_str() {
        "" | "b" => (1, 0),
        "k" | "kib" => (1024, 1),
        "m" | "mib" => (1024, 2),
        "g" | "gib" => (1024, 3),
        "t" | "tib" => (1024, 4),
        "kb" => (1000, 1),
        "mb" => (1000, 2),
        "gb" => (1000, 3),
        "tb" => (1000, 4),
        _ => return Err(refuse()),
    };
    let bytes = base
        .checked_pow(power)
        .and_then(|unit| number.checked_mul(unit));
    bytes.ok_or_else(|| format!("{text:?} is more than can be counted"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("77", 77),
            ("77B", 77),
            ("64k", 64 << 10),
            ("64K", 64 << 10),
            ("64KiB", 64 << 10),
            ("64kB", 64_000),
            ("512MiB", 512 << 20),
            ("512 MiB", 512 << 20),
            ("512m", 512 << 20),
            ("1GB", 1_000_000_000),
            ("1g", 1 << 30),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in [
            "",
            "k",
            "-1",
            "1.5G",
            "1x",
            "1kk",
            "1bib",
            "1ib",
            "1MiBs",
            "1é",
            "+1",
            "99999999999T",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
