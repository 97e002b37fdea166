//! The beginning of something's words.

use std::fmt::{self, Write};

/// The first characters of what is printed. What comes after them is not even put into words: an answer may have a
/// million keys.
#[must_use]
pub fn brief(what: &impl fmt::Display, chars: usize) -> String {
    let mut brief = Brief { text: String::new(), left: chars };
    // It ends with an error when there are more.
    let _ = write!(brief, "{what}");
    brief.text
}

struct Brief {
    text: String,
    left: usize,
}

impl Write for Brief {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let end = piece.char_indices().nth(self.left).map_or(piece.len(), |(at, _)| at);
        self.text.push_str(&piece[..end]);
        self.left -= piece[..end].chars().count();
        if end < piece.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::store::Reply;
    use std::time::{Duration, Instant};

    #[test]
    fn of_a_long_answer_only_the_beginning_is_put_into_words() {
        let keys = Reply::Keys((0..400_000).map(|number| format!("key{number}")).collect());
        let begun = Instant::now();
        (0..1_000).for_each(|_| assert_eq!(brief(&keys, 80).len(), 80));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}: all of it, a thousand times", begun.elapsed());
        assert_eq!(brief(&"ä".repeat(70), 3), "äää");
        assert_eq!(
            (brief(&Reply::Ok, 2), brief(&Reply::Ok, 1), brief(&Reply::Ok, 80)),
            ("OK".into(), "O".into(), "OK".into())
        );
    }
}
