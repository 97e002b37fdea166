//! What stands in the words of a message, as its sender tells them: `Prepare op=7 …`, `Confirm view 3 …`.

use crate::core::protocol::MessageKind;

/// What stands behind a key: `7` for `op` in `Prepare op=7`.
#[must_use]
pub fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// The number of the view that is spoken of.
#[must_use]
pub fn view(text: &str) -> Option<&str> {
    text.split_once("view ")?.1.split(' ').next()
}

/// True when a wish for a view says that its primary has confirmed it.
#[must_use]
pub fn is_confirmed(text: &str) -> bool {
    text.ends_with("(confirmed)")
}

/// What is asked for, or answered.
#[must_use]
pub fn content(kind: MessageKind, text: &str) -> &str {
    let rest = text.strip_prefix(kind.name()).unwrap_or(text).trim_start();
    rest.split_once(' ').map_or("", |(_, content)| content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_says_is_found() {
        assert_eq!((value("Prepare op=7 PUT a op=8", "op"), value("Prepare op=7", "lease")), (Some("7"), None));
        assert_eq!((view("Confirm view 12 of 1"), view("Join")), (Some("12"), None));
        assert!(is_confirmed("ChangeView view 2 (confirmed)") && !is_confirmed("ChangeView view 2"));
        assert_eq!(content(MessageKind::Request, "Request 0:1 PUT a 1"), "PUT a 1");
        assert_eq!(content(MessageKind::Request, "Request"), "");
    }
}
