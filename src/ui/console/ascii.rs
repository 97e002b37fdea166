//! The same in ASCII: for terminals and locales that know nothing else.
//!
//! The console's own signs have a stand-in each; whatever else is beyond ASCII is shown as its escape.

/// What stands in for the signs that the program itself uses.
const STAND_INS: &[(char, &str)] = &[
    ('·', "|"),
    ('…', "..."),
    ('→', "->"),
    ('⇨', "=>"),
    ('⇄', "<->"),
    ('–', "-"),
    ('—', "-"),
    ('×', "x"),
    ('µ', "u"),
    ('≠', "!="),
    ('✗', "x"),
    ('✓', "+"),
    ('»', ">"),
];

/// `text` in ASCII.
#[must_use]
pub fn ascii(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match STAND_INS.iter().find(|(sign, _)| *sign == c) {
            _ if c.is_ascii() => plain.push(c),
            Some((_, stand_in)) => plain.push_str(stand_in),
            None => plain.push_str(&escape(c)),
        }
    }
    plain
}

/// A character as its escape: `\n`, `\u{1b}`.
#[must_use]
pub fn escape(c: char) -> String {
    match c {
        '\n' | '\r' | '\t' => c.escape_default().to_string(),
        c => c.escape_unicode().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_ascii_is_left() {
        assert_eq!(ascii("view 4 · primary 2"), "view 4 | primary 2");
        assert_eq!(ascii("link 1 → 2, 5 µs … ×3"), "link 1 -> 2, 5 us ... x3");
        assert_eq!(ascii("Köln\n"), "K\\u{f6}ln\n");
        assert_eq!(ascii("plain"), "plain");
    }
}
