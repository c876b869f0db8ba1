//! `--fold`: one spelling for a word, whatever its case and the punctuation around it.

/// Calls `emit` with the folded word, unless nothing is left of it.
///
/// A word that is valid UTF-8 is lower-cased letter by letter, and of it stay Unicode letters, digits, the marks that
/// Unicode counts as alphabetic, and each apostrophe (`'`, and `’`, which becomes `'`) right between two characters that stay.
/// Of any other word, ASCII letters are lower-cased, and ASCII letters and digits, all bytes above 127, and apostrophes
/// right between two of these stay. So `"Don’t--stop!"` becomes `don'tstop`, and `--` vanishes.
pub(super) fn fold(word: &[u8], mut emit: impl FnMut(&[u8])) {
    // Most words need one short buffer, on the stack.
    if word.len() <= SHORT && word.is_ascii() {
        let mut buffer = [0; SHORT];
        let len = fold_bytes(word, &mut buffer);
        if len > 0 {
            emit(&buffer[..len]);
        }
        return;
    }
    let folded = match std::str::from_utf8(word) {
        Ok(text) => fold_text(text).into_bytes(),
        Err(_) => {
            let mut buffer = vec![0; word.len()];
            let len = fold_bytes(word, &mut buffer);
            buffer.truncate(len);
            buffer
        }
    };
    if !folded.is_empty() {
        emit(&folded);
    }
}

const SHORT: usize = 64;

/// What stood before the character that is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Kept,
    /// An apostrophe behind something that was kept.
    Apostrophe,
    Other,
}

impl Before {
    fn then_apostrophe(self) -> Before {
        if self == Before::Kept {
            Before::Apostrophe
        } else {
            Before::Other
        }
    }
}

fn fold_bytes(word: &[u8], out: &mut [u8]) -> usize {
    let mut len = 0;
    let mut before = Before::Other;
    for byte in word {
        if byte.is_ascii_alphanumeric() || !byte.is_ascii() {
            if before == Before::Apostrophe {
                out[len] = b'\'';
                len += 1;
            }
            out[len] = byte.to_ascii_lowercase();
            len += 1;
            before = Before::Kept;
        } else {
            before = if *byte == b'\'' {
                before.then_apostrophe()
            } else {
                Before::Other
            };
        }
    }
    len
}

fn fold_text(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut before = Before::Other;
    for letter in word.chars().flat_map(char::to_lowercase) {
        if letter.is_alphanumeric() {
            if before == Before::Apostrophe {
                out.push('\'');
            }
            out.push(letter);
            before = Before::Kept;
        } else {
            before = if matches!(letter, '\'' | '\u{2019}') {
                before.then_apostrophe()
            } else {
                Before::Other
            };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::fold;

    fn folded(word: &[u8]) -> Option<Vec<u8>> {
        let mut out = None;
        fold(word, |word| out = Some(word.to_vec()));
        out
    }

    #[track_caller]
    fn check(word: &str, want: &str) {
        let want = (!want.is_empty()).then(|| want.as_bytes().to_vec());
        assert_eq!(folded(word.as_bytes()), want, "{word}");
    }

    #[test]
    fn case_goes_and_punctuation_goes() {
        check("Elizabeth,", "elizabeth");
        check("\"'After", "after");
        check("MR.", "mr");
        check("well-known", "wellknown");
        check("3.14", "314");
        check("--", "");
        check("'", "");
        check("''''", "");
        check("_it_", "it");
    }

    #[test]
    fn apostrophes_stay_inside_words() {
        check("Don't", "don't");
        check("don\u{2019}t", "don't");
        check("'tis", "tis");
        check("girls'", "girls");
        check("\"Don\u{2019}t--stop!\"", "don'tstop");
        check("rock'n'roll", "rock'n'roll");
        for apart in ["a''b", "a'-b", "a-'b"] {
            check(apart, "ab");
        }
    }

    #[test]
    fn letters_of_all_scripts_are_folded() {
        check("ÄRGER!", "ärger");
        check("«Élan»", "élan");
        check("ΟΔΟΣ", "οδοσ");
        check("汉字。", "汉字");
        check("🙂", "");
        check(&"É".repeat(100), &"é".repeat(100));
        check(&"E-".repeat(100), &"e".repeat(100));
    }

    #[test]
    fn bytes_that_are_no_text_are_folded_as_ascii() {
        assert_eq!(folded(b"\xffA'B\xc4,"), Some(b"\xffa'b\xc4".to_vec()));
        assert_eq!(folded(b"(\xff)"), Some(b"\xff".to_vec()));
    }

    #[test]
    fn what_is_folded_folds_to_itself() {
        for word in ["İstanbul", "Don't", "ẞ", "a''b", "ΟΔΟΣ"] {
            let once = folded(word.as_bytes()).expect("something stays");
            assert_eq!(folded(&once), Some(once.clone()), "{word}");
        }
    }
}
