//! The parser and the writer, judged by a crate that knows the protocol.

use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp2::types::{OwnedFrame as Frame2, Resp2Frame};
use redis_protocol::resp3::types::OwnedFrame as Frame3;
use redis_protocol::{resp2, resp3};
use understudy::core::store::{Bytes, Double, Reply, StoreError};
use understudy::door::resp::{ARGUMENTS_MAX, BULK_BYTES_MAX, LINE_BYTES_MAX, Parser, Version, Writer};

/// A request as a client sends it.
fn frame(words: &[Vec<u8>]) -> Vec<u8> {
    let frame = Frame2::Array(words.iter().map(|word| Frame2::BulkString(word.clone())).collect());
    let mut bytes = vec![0; frame.encode_len(false)];
    resp2::encode::encode(&mut bytes, &frame, false).expect("there is room");
    bytes
}

/// Everything that a parser makes of these bytes when they come in pieces of this size, and how it ends.
fn parsed(bytes: &[u8], piece: usize) -> (Vec<Vec<Bytes>>, Option<String>) {
    let mut parser = Parser::new(true);
    let mut requests = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        parser.feed(piece);
        loop {
            match parser.take_next() {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(error) => return (requests, Some(error.to_string())),
            }
        }
    }
    (requests, None)
}

fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..40), 1..8)
}

proptest! {
    #[test]
    fn what_a_client_sends_is_understood_however_it_is_cut(requests in vec(words(), 1..6), piece in 1_usize..70) {
        let bytes: Vec<u8> = requests.iter().flat_map(|words| frame(words)).collect();
        let expected: Vec<Vec<Bytes>> =
            requests.into_iter().map(|words| words.into_iter().map(Bytes::from).collect()).collect();
        prop_assert_eq!(parsed(&bytes, piece), (expected, None));
    }

    #[test]
    fn how_it_is_cut_changes_nothing_for_garbage_either(
        text in "[*$\r\n0-9a-c\"' -]{0,60}", piece in 1_usize..9
    ) {
        // What is wrong may be noticed earlier, when less has come; never something else.
        let (whole, in_pieces) = (parsed(text.as_bytes(), usize::MAX), parsed(text.as_bytes(), piece));
        prop_assert_eq!(whole, in_pieces);
    }

    #[test]
    fn a_reply_is_what_the_crate_reads(reply in reply()) {
        for version in [Version::Resp2, Version::Resp3] {
            let mut bytes = Vec::new();
            Writer::new(&mut bytes, version).store(&reply);
            match version {
                Version::Resp2 => {
                    let (_, length) = resp2::decode::decode(&bytes).expect("well formed").expect("whole");
                    prop_assert_eq!(length, bytes.len());
                }
                Version::Resp3 => {
                    let (read, length) = resp3::decode::complete::decode(&bytes).expect("well formed").expect("whole");
                    prop_assert_eq!(length, bytes.len());
                    prop_assert!(is_same(&reply, &read), "{:?} was read as {:?}", reply, read);
                }
            }
        }
    }
}

fn reply() -> impl Strategy<Value = Reply> {
    let leaf = prop_oneof![
        Just(Reply::Ok),
        Just(Reply::Nil),
        Just(Reply::NilArray),
        Just(Reply::Error(StoreError::WRONG_TYPE)),
        Just(Reply::Status("string".into())),
        any::<i64>().prop_map(Reply::Integer),
        (-1e6..1e6).prop_map(|number| Reply::Double(Double(number))),
        vec(any::<u8>(), 0..20).prop_map(|bytes| Reply::Value(bytes.into())),
        vec("[a-z]{1,5}", 0..4).prop_map(|keys| Reply::Keys(keys.iter().collect())),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        let value = vec(any::<u8>(), 0..9).prop_map(|bytes| Reply::Value(bytes.into()));
        let pairs = vec((value, inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Reply::Array),
            vec(any::<i64>().prop_map(Reply::Integer), 0..4).prop_map(Reply::Set),
            pairs.clone().prop_map(Reply::Map),
            pairs.prop_map(Reply::Pairs),
        ]
    })
}

fn is_same(reply: &Reply, read: &Frame3) -> bool {
    match (reply, read) {
        (Reply::Ok, Frame3::SimpleString { data, .. }) => data == b"OK",
        (Reply::Status(word), Frame3::SimpleString { data, .. }) => data == &word[..],
        (Reply::Nil | Reply::NilArray, Frame3::Null) => true,
        (Reply::Error(error), Frame3::SimpleError { data, .. }) => *data == error.redis_text(),
        (Reply::Integer(number), Frame3::Number { data, .. }) => data == number,
        (Reply::Double(number), Frame3::Double { data, .. }) => data.to_bits() == number.0.to_bits(),
        (Reply::Value(value), Frame3::BlobString { data, .. }) => data == &value[..],
        (Reply::Keys(keys), Frame3::Array { data, .. }) => {
            data.len() == keys.len()
                && keys
                    .iter()
                    .zip(data)
                    .all(|(key, read)| matches!(read, Frame3::BlobString { data, .. } if data == key))
        }
        (Reply::Array(items), Frame3::Array { data, .. }) => {
            items.len() == data.len() && items.iter().zip(data).all(|(item, read)| is_same(item, read))
        }
        (Reply::Pairs(pairs), Frame3::Array { data, .. }) => {
            pairs.len() == data.len()
                && pairs.iter().zip(data).all(|((one, two), read)| {
                    matches!(read, Frame3::Array { data, .. } if data.len() == 2 && is_same(one, &data[0])
                        && is_same(two, &data[1]))
                })
        }
        // What occurs twice is read once.
        (Reply::Set(_), Frame3::Set { .. }) | (Reply::Map(_), Frame3::Map { .. }) => true,
        _ => false,
    }
}

#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    assert_eq!(parsed(bytes, 1000).1.as_deref(), Some(expected), "{:?}", String::from_utf8_lossy(bytes));
}

#[test]
fn who_breaks_the_protocol_is_told_in_the_words_of_redis() {
    refused(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "Protocol error: expected '$', got 'f'");
    refused(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-10\r\n", "Protocol error: invalid bulk length");
    refused(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$blabla\r\n", "Protocol error: invalid bulk length");
    refused(
        format!("*2\r\n$3\r\nGET\r\n${}\r\n", BULK_BYTES_MAX + 1).as_bytes(),
        "Protocol error: invalid bulk length",
    );
    refused(b"*3000000000\r\n", "Protocol error: invalid multibulk length");
    refused(format!("*{}\r\n", ARGUMENTS_MAX + 1).as_bytes(), "Protocol error: invalid multibulk length");
    refused(b"*x\r\n", "Protocol error: invalid multibulk length");
    refused(b"GET \"a\r\n", "Protocol error: unbalanced quotes in request");
    refused(b"GET 'a'b\r\n", "Protocol error: unbalanced quotes in request");
    refused(&vec![b'x'; LINE_BYTES_MAX + 2000], "Protocol error: too big inline request");
    let mut long = b"*".to_vec();
    long.resize(LINE_BYTES_MAX + 2000, b'1');
    refused(&long, "Protocol error: too big mbulk count string");
    let mut long = b"*1\r\n$".to_vec();
    long.resize(LINE_BYTES_MAX + 2000, b'1');
    refused(&long, "Protocol error: too big bulk count string");
}

#[test]
fn a_stranger_is_given_less_room() {
    let said = |bytes: &[u8]| {
        let mut parser = Parser::default();
        parser.feed(bytes);
        parser.take_next().map_err(|error| error.to_string())
    };
    assert_eq!(said(b"*11\r\n"), Err("Protocol error: unauthenticated multibulk length".into()));
    assert_eq!(said(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n"), Err("Protocol error: unauthenticated bulk length".into()));
    assert_eq!(said(b"*2\r\n$4\r\nAUTH\r\n$16384\r\n"), Ok(None));
}

#[test]
fn a_line_has_words_quotes_and_escapes() {
    let words = |line: &str| {
        let (requests, error) = parsed(format!("{line}\r\n").as_bytes(), 3);
        assert_eq!(error, None);
        requests.concat().iter().map(|word| word.to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(words("  SET  k \"a b\\x41\\n\\\"\" "), [&b"SET"[..], b"k", b"a bA\n\""]);
    assert_eq!(words("x'a\\'b'"), [b"xa'b"]);
    assert_eq!(words("'a\\n' \"\""), [&b"a\\n"[..], b""]);
    assert!(words("   ").is_empty());
    // Every blank of C stands between words; a vertical tab or a form feed inside a word belongs to it.
    assert_eq!(words(" \x0b\x0cSET\x0b k\x0cv \"a\"\x0b'b'\x0b"), [&b"SET\x0b"[..], b"k\x0cv", b"a", b"b"]);
    assert!(words("\x0b\x0b").is_empty());
    assert_eq!(parsed(b"*0\r\n*-1\r\n\r\nPING\n", 1).0, [[Bytes::from("PING")]]);
}

#[test]
fn a_length_that_lies_takes_no_memory() {
    let mut parser = Parser::new(true);
    parser.feed(format!("*{ARGUMENTS_MAX}\r\n${BULK_BYTES_MAX}\r\nshort").as_bytes());
    assert_eq!(parser.take_next(), Ok(None));
    assert!(parser.room_bytes() < 64 << 10, "{} bytes", parser.room_bytes());
}
