//! Everything that decodes bytes from outside, as functions that must survive any bytes: one a decoder.
//!
//! The property tests (`tests/hostile.rs`) and the coverage-guided targets (`tests/fuzz/targets`) call the same.

#![allow(dead_code, reason = "every target calls one of them")]

use understudy::check::json;
use understudy::core::protocol::SnapshotPart;
use understudy::core::store::Importer;
use understudy::door::resp::Parser;
use understudy::mpi::transport::wire::{decode, encode};
use understudy::ui::commands::parse;
use understudy::ui::console::answer::Palette;
use understudy::ui::console::assist;
use understudy::ui::console::knowledge::FixedKnowledge;
use understudy::ui::console::row::Line;

/// Frames from peers. What is understood is sent on as the same.
pub fn frame(bytes: &[u8]) {
    let mut frame = Vec::new();
    let mut packets = Vec::new();
    let refused = decode(bytes, |packet| {
        frame = encode(&packet, std::mem::take(&mut frame));
        packets.push(packet);
    });
    if let Err(error) = refused {
        assert!(!error.to_string().is_empty());
    }
    if !frame.is_empty() {
        let mut again = Vec::new();
        decode(&frame, |packet| again.push(packet)).expect("what was encoded can be decoded");
        // A number that is none is not equal to itself.
        assert!(again == packets || format!("{packets:?}").contains("NaN"));
    }
}

/// The parts of a snapshot, one after the other. What does not have the sender's digest is refused.
pub fn snapshot(bytes: &[u8]) {
    let mut importer = Importer::default();
    let mut rest = bytes;
    while let Ok((part, after)) = postcard::take_from_bytes::<SnapshotPart>(rest) {
        rest = after;
        match part {
            SnapshotPart::Chunk(chunk) => importer.add(chunk),
            SnapshotPart::Finale(finale) => {
                let (op, digest) = (finale.op, finale.digest);
                match importer.finish(*finale) {
                    Ok(store) => assert!((store.op(), store.digest()) == (op, digest)),
                    Err(error) => assert!(error.to_string().contains("digest")),
                }
                importer = Importer::default();
            }
            SnapshotPart::Missing(_) | SnapshotPart::NoneMissing => {}
        }
        assert!(importer.keys() <= bytes.len());
    }
}

/// A history in a file. What is understood is written as the same.
pub fn history(bytes: &[u8]) {
    match json::read(bytes) {
        Ok(operations) => {
            let mut text = Vec::new();
            json::write(&operations, &mut text).expect("memory can be written");
            assert!(json::read(&*text).expect("what was written can be read") == operations);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A line from a person or a script, finished or not.
pub fn console(bytes: &[u8]) {
    let (tokens, _) = parse::lex(bytes);
    assert!(tokens.iter().all(|token| token.start < token.end && token.end <= bytes.len()));
    if let Err(why) = parse::request(bytes) {
        // Whatever was typed: what is answered can be shown.
        assert!(!why.is_empty() && !why.chars().any(|c| c.is_control() && c != '\n'));
    }
    if let Ok(line) = std::str::from_utf8(bytes) {
        let (start, _) = assist::complete(line, line.len(), &FixedKnowledge::default());
        assert!(line.is_char_boundary(start));
        let _ = assist::hint(line, line.len());
        let spans = assist::spans(line, &Palette::COLOR);
        let row = Line { prompt: "> ", spans: &spans, cursor: Some(line.len()), hint: "" };
        let _ = row.draw(80, &Palette::COLOR);
    }
}

/// What a client of the door sends. However it is cut, the same is understood of it, and nobody makes room on
/// a client's word.
pub fn door(bytes: &[u8]) {
    let cut = bytes.first().map_or(0, |first| usize::from(*first)).min(bytes.len());
    let parsed = |pieces: &[&[u8]]| {
        let mut parser = Parser::new(true);
        let mut requests = Vec::new();
        for piece in pieces {
            parser.feed(piece);
            loop {
                match parser.take_next() {
                    Ok(Some(request)) => requests.push(request),
                    Ok(None) => break,
                    Err(error) => return (requests, Some(error)),
                }
            }
            assert!(parser.room_bytes() <= 2 * bytes.len() + (8 << 10));
        }
        (requests, None)
    };
    let (whole, in_two) = (parsed(&[bytes]), parsed(&[&bytes[..cut], &bytes[cut..]]));
    assert_eq!(whole, in_two);
}
