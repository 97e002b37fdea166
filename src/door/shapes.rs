//! The store's answers in the words of RESP.

use super::hall::Shape;
use super::resp::Writer;
use crate::core::store::Reply;

/// The least that a key costs besides its own bytes.
const ENTRY_BYTES: usize = 48;

impl Writer<'_> {
    /// An answer of the store, as it is.
    pub fn store(&mut self, reply: &Reply) {
        match reply {
            Reply::Ok => self.ok(),
            Reply::Status(word) => self.simple(&String::from_utf8_lossy(word)),
            Reply::Nil => self.null(),
            Reply::NilArray => self.null_array(),
            Reply::Value(value) => self.bulk(value),
            Reply::Integer(number) => self.integer(*number),
            Reply::Double(number) => self.double(&number.to_string()),
            Reply::Error(error) => self.error(&error.redis_text()),
            Reply::Keys(keys) => {
                self.array(keys.len());
                keys.iter().for_each(|key| self.bulk(key));
            }
            Reply::Array(items) => {
                self.array(items.len());
                items.iter().for_each(|item| self.store(item));
            }
            Reply::Set(items) => {
                self.set(items.len());
                items.iter().for_each(|item| self.store(item));
            }
            Reply::Map(pairs) => {
                self.map(pairs.len());
                pairs.iter().for_each(|(field, value)| {
                    self.store(field);
                    self.store(value);
                });
            }
            Reply::Pairs(pairs) => self.pairs(pairs),
        }
    }

    /// Pairs are arrays of two for RESP3, and one long array for RESP2.
    fn pairs(&mut self, pairs: &[(Reply, Reply)]) {
        let nested = self.version == super::resp::Version::Resp3;
        self.array(if nested { pairs.len() } else { pairs.len() * 2 });
        for (one, two) in pairs {
            if nested {
                self.array(2);
            }
            self.store(one);
            self.store(two);
        }
    }

    /// An answer of the store as another command would give it.
    pub fn shaped(&mut self, shape: Shape, reply: &Reply) {
        let (key, popped) = match (shape, reply) {
            (Shape::Room(_), Reply::Integer(0)) => return self.null(),
            (Shape::Room(key_bytes), Reply::Integer(_)) => return self.integer((ENTRY_BYTES + key_bytes) as i64),
            (Shape::Element | Shape::Member, Reply::Nil) => return self.null_array(),
            (Shape::Element | Shape::Member, Reply::Array(parts)) => match parts.as_slice() {
                [key, popped] => (key, popped),
                _ => return self.store(reply),
            },
            _ => return self.store(reply),
        };
        let first = match popped {
            Reply::Array(items) => items.first(),
            _ => None,
        };
        match (shape, first, popped) {
            (Shape::Element, Some(element), _) => {
                self.array(2);
                self.store(key);
                self.store(element);
            }
            (Shape::Member, Some(Reply::Array(pair)), _) if pair.len() == 2 => {
                self.array(3);
                self.store(key);
                pair.iter().for_each(|part| self.store(part));
            }
            (Shape::Member, _, Reply::Pairs(pairs)) if pairs.len() == 1 => {
                self.array(3);
                self.store(key);
                self.store(&pairs[0].0);
                self.store(&pairs[0].1);
            }
            _ => self.store(reply),
        }
    }
}
