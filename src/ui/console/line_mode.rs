//! Line mode: one command a line in, one answer a line out.
//!
//! For scripts and pipes: no escape sequences, raw answers, every answer flushed before the next line is
//! read, so that a program may hold a conversation with it. A line may hold any bytes and must not be
//! longer than [`LINE_BYTES_MAX`]; a longer one is answered with an error and skipped without being kept.
//!
//! The exit status is 0, or 1 when any command was answered `(error)`. An `(unknown)` is no error: it
//! tells the truth about a request whose answer never came. A reader that went away (a broken pipe) is
//! no error either.

use super::ExitStatus;
use super::answer::Answer;
use super::session::ConsoleSession;
use crate::ui::commands::parse;
use std::io::{self, BufRead, ErrorKind, Write};

/// The longest line (8 MiB): a value of 1 MiB with every byte written as `\xHH`, and room to spare.
pub const LINE_BYTES_MAX: usize = 8 << 20;

/// The mark of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Runs every line of `input` and writes the answers to `output`.
///
/// # Errors
/// When `input` cannot be read or `output` cannot be written for any reason but a broken pipe.
pub fn run_lines(mut input: impl BufRead, mut output: impl Write, session: &ConsoleSession) -> io::Result<ExitStatus> {
    let mut status = ExitStatus::Success;
    match run_all(&mut input, &mut output, session, &mut status) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(status),
        Err(error) => Err(error),
        Ok(()) => Ok(status),
    }
}

/// Runs the commands of `-c`, one after the other, as if they were lines of a script.
///
/// # Errors
/// As [`run_lines`].
pub fn run_commands<C: AsRef<[u8]>>(
    commands: &[C],
    output: impl Write,
    session: &ConsoleSession,
) -> io::Result<ExitStatus> {
    let lines: Vec<&[u8]> = commands.iter().map(AsRef::as_ref).collect();
    run_lines(&*lines.join(&b'\n'), output, session)
}

fn run_all(
    input: &mut impl BufRead,
    output: &mut impl Write,
    session: &ConsoleSession,
    status: &mut ExitStatus,
) -> io::Result<()> {
    let mut line = Vec::new();
    let mut number: u64 = 0;
    loop {
        number += 1;
        let mut answers = Answers { output, status, failed: None };
        match read_line(input, &mut line)? {
            InputLine::End => return Ok(()),
            InputLine::TooLong(bytes) => {
                let why = format!("line {number} has {bytes} bytes and was skipped: at most {LINE_BYTES_MAX} bytes");
                answers.tell(&Answer::Error(why));
            }
            InputLine::Whole => match parse::request(without_mark(&line, number)) {
                Ok(None) => {}
                Err(why) => {
                    answers.tell(&session.worded(Answer::Error(why)));
                }
                Ok(Some(request)) => {
                    let mut quits = false;
                    session.run(&request, |answer| {
                        quits = answer == Answer::Quit;
                        answers.tell(&answer)
                    });
                    if quits {
                        return Ok(());
                    }
                }
            },
        }
        if let Some(error) = answers.failed {
            return Err(error);
        }
    }
}

/// Some editors begin a file with an invisible mark: it is no part of the first command.
fn without_mark(line: &[u8], number: u64) -> &[u8] {
    match line.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) if number == 1 => rest,
        _ => line,
    }
}

/// Where answers go.
struct Answers<'a, W> {
    output: &'a mut W,
    status: &'a mut ExitStatus,
    failed: Option<io::Error>,
}

impl<W: Write> Answers<'_, W> {
    /// Writes one answer, as one write; false when nobody can be told any more.
    fn tell(&mut self, answer: &Answer) -> bool {
        if matches!(answer, Answer::Error(_)) {
            *self.status = ExitStatus::AnsweredError;
        }
        let mut bytes = Vec::new();
        answer.write_raw(&mut bytes);
        self.failed = self.output.write_all(&bytes).and_then(|()| self.output.flush()).err();
        self.failed.is_none()
    }
}

/// What [`read_line`] found.
enum InputLine {
    /// The line is in the buffer, without its newline.
    Whole,
    /// The line had this many bytes, more than the limit.
    TooLong(u64),
    /// There are no more lines.
    End,
}

/// Reads the next line, keeping at most [`LINE_BYTES_MAX`] of it. The last line needs no newline.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<InputLine> {
    line.clear();
    let mut length: u64 = 0;
    let mut any = false;
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            break;
        }
        any = true;
        let newline = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..newline.unwrap_or(available.len())];
        length += part.len() as u64;
        let room = LINE_BYTES_MAX - line.len();
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = newline.map_or(available.len(), |at| at + 1);
        input.consume(used);
        if newline.is_some() {
            break;
        }
    }
    if !any {
        return Ok(InputLine::End);
    }
    // A giant line must not leave its giant buffer behind.
    if length > LINE_BYTES_MAX as u64 {
        *line = Vec::new();
        return Ok(InputLine::TooLong(length));
    }
    Ok(InputLine::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read};

    #[test]
    fn lines_end_at_newlines_and_at_the_end() {
        let mut input = &b"a\n\nb\0c"[..];
        let mut line = Vec::new();
        let mut lines = Vec::new();
        while let InputLine::Whole = read_line(&mut input, &mut line).expect("reading memory works") {
            lines.push(line.clone());
        }
        assert_eq!(lines, [&b"a"[..], b"", b"b\0c"]);
    }

    #[test]
    fn an_endless_line_is_skipped_without_being_kept() {
        let long = LINE_BYTES_MAX as u64 + 1;
        let mut input = BufReader::new(io::repeat(b'x').take(long).chain(&b"\nb\n"[..]));
        let mut line = Vec::new();
        assert!(matches!(read_line(&mut input, &mut line), Ok(InputLine::TooLong(bytes)) if bytes == long));
        assert_eq!(line.capacity(), 0);
        assert!(matches!(read_line(&mut input, &mut line), Ok(InputLine::Whole)));
        assert_eq!(line, b"b");
    }
}
