//! The names of the places in a queue.

/// A node's name and the number in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Numbered {
    pub(super) name: String,
    number: i64,
}

/// How long a writer's name is.
const WRITER: usize = 32;

impl Numbered {
    pub(super) fn writer(&self) -> &str {
        &self.name[..WRITER]
    }
}

/// Reads `<writer>-<number>`; all else in the directory is not ours.
fn numbered(name: &str) -> Option<Numbered> {
    let (writer, rest) = name.split_at_checked(WRITER)?;
    let number = rest.strip_prefix('-')?;
    let hex = writer
        .bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let digits = number.strip_prefix('-').unwrap_or(number);
    // Ten digits, or nineteen where the servers count with 64 bits.
    let plain =
        (1..=19).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse().ok().filter(|_| hex && plain)?;
    Some(Numbered {
        name: name.to_owned(),
        number,
    })
}

/// The places of these names, in order. Servers that count with 32 bits go on with negative numbers after 2147483647, and those come later
/// all the same: so the order is that seen from one place, the writer's if it is there.
pub(super) fn places(names: Vec<String>, writer: Option<&str>) -> Vec<Numbered> {
    let mut places: Vec<Numbered> = names.iter().filter_map(|name| numbered(name)).collect();
    let own = places.iter().find(|place| Some(place.writer()) == writer);
    let from = own.or(places.first()).map_or(0, |place| place.number);
    places.sort_by_cached_key(|place| (distance(from, place.number), place.name.clone()));
    places
}

fn distance(from: i64, to: i64) -> i64 {
    match (i32::try_from(from), i32::try_from(to)) {
        (Ok(from), Ok(to)) => to.wrapping_sub(from).into(),
        _ => to.saturating_sub(from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: &str) -> String {
        format!("{:032x}-{number}", 1)
    }

    fn order(numbers: &[&str]) -> Vec<i64> {
        let names = numbers.iter().map(|number| name(number)).collect();
        places(names, None)
            .into_iter()
            .map(|place| place.number)
            .collect()
    }

    #[test]
    fn places_are_in_the_order_of_their_numbers() {
        assert_eq!(
            order(&["0000000010", "0000000002", "0000000009"]),
            [2, 9, 10]
        );
        let wide = ["0000000002147483649", "2147483647", "0000000002147483648"];
        assert_eq!(order(&wide), [2_147_483_647, 2_147_483_648, 2_147_483_649]);
    }

    #[test]
    fn numbers_that_wrap_around_come_after_those_before() {
        let mut wrapped = ["-2147483648", "2147483647", "-2147483647", "2147483646"];
        for _ in 0..wrapped.len() {
            wrapped.rotate_left(1);
            assert_eq!(
                order(&wrapped),
                [2_147_483_646, 2_147_483_647, -2_147_483_648, -2_147_483_647]
            );
        }
        assert_eq!(order(&["0000000000", "-000000001"]), [-1, 0]);
    }

    #[test]
    fn what_is_no_place_is_passed_over() {
        for other in [
            "",
            "lock",
            "0000000001",
            &name(""),
            &name("x"),
            &name("1-2"),
            &"ü".repeat(30),
            &name("--1"),
            &name("+1"),
        ] {
            assert_eq!(numbered(other), None, "{other:?}");
        }
        let upper = name("1").replace('0', "A");
        assert_eq!(numbered(&upper), None);
        assert_eq!(
            numbered(&name("0000000007")).map(|place| place.number),
            Some(7)
        );
    }
}
