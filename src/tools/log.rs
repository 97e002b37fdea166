//! Prints a log so that a person can read it, and judges it.

use crate::core::disk::{Damage, Ending, LogPlace, Reader, file_name};
use crate::core::protocol::durable::{Nonsense, Record};
use crate::core::store::UnixMs;
use crate::disk::folder::{self, ReadError};
use crate::launch::args::LogArgs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Prints what the arguments ask for: 0 when all is whole, 1 when something is damaged, 2 when it cannot be read.
#[must_use]
pub fn main(args: &LogArgs) -> ExitCode {
    match tell(args, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => crate::launch::fail(&format!("{}: {error}", args.folder.display())),
    }
}

/// Prints. True when all is whole.
fn tell(args: &LogArgs, out: &mut dyn Write) -> io::Result<bool> {
    let logs = folder::logs(&args.folder)?;
    if logs.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no log here"));
    }
    let boot = folder::boot()?;
    let mut whole = true;
    for log in &logs {
        if args.verify {
            whole &= verify(log, boot, out)?;
        } else {
            whole &= print(log, boot, args.json, logs.len() > 1, out)?;
        }
    }
    Ok(whole)
}

fn verify(log: &Path, boot: u64, out: &mut dyn Write) -> io::Result<bool> {
    match folder::read(log, None, boot, &mut |_, _| {}) {
        Ok((_, Ending { end: None, .. })) => writeln!(out, "{}: empty", log.display())?,
        Ok((had, Ending { end: Some(end), .. })) => {
            let (op, commit, digest) = (had.op(), had.store.op(), had.store.digest());
            write!(out, "{}: {}, whole", log.display(), end.owner)?;
            match had.holder.map(|(_, view)| view).or(had.chosen) {
                Some(view) => write!(out, ", {view}")?,
                None => write!(out, ", no view")?,
            }
            write!(out, ", op {op}, {} keys with digest {digest:016x} at op {commit}", had.store.len())?;
            if end.torn_bytes > 0 {
                write!(out, ", and {} bytes of what was being written at the end", end.torn_bytes)?;
            }
            writeln!(out)?;
        }
        Err(ReadError::Io(path, error)) => {
            return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
        }
        Err(damage) => {
            writeln!(out, "{damage}")?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn print(log: &Path, boot: u64, json: bool, named: bool, out: &mut dyn Write) -> io::Result<bool> {
    let files = folder::files(log)?;
    let newest = files.last().map_or(0, |(number, _)| *number);
    let mut reader = Reader::new(None, boot);
    let mut trouble = Ok(());
    if named && !json {
        writeln!(out, "─ {}", log.display())?;
    }
    let told = |damage: Damage, out: &mut dyn Write| {
        let place = format!("{}/{damage}", log.display());
        match json {
            true => writeln!(out, "{}", serde_json::json!({ "damage": place })),
            false => writeln!(out, "{place}"),
        }
    };
    for (number, path) in files {
        let bytes = std::fs::read(path)?;
        let read = reader.file(number, &bytes, number == newest, &mut |place, record| {
            if trouble.is_ok() {
                trouble = match json {
                    true => writeln!(out, "{}", as_json(place, &record)),
                    false => writeln!(out, "{}", as_text(place, &record)),
                };
            }
            Ok::<(), Nonsense>(())
        });
        std::mem::replace(&mut trouble, Ok(()))?;
        if let Err(damage) = read {
            told(damage, out)?;
            return Ok(false);
        }
    }
    if let Err(damage) = reader.finish() {
        told(damage, out)?;
        return Ok(false);
    }
    Ok(true)
}

fn as_text(place: &LogPlace, record: &Record) -> String {
    let time = match record {
        Record::Entry { entry, .. } => utc(entry.stamp.time),
        _ => String::new(),
    };
    format!("{:<30} {time:<24} {record}", place.to_string())
}

fn as_json(place: &LogPlace, record: &Record) -> serde_json::Value {
    let file = file_name(place.file);
    match record {
        Record::Entry { view, commit, entry } => serde_json::json!({
            "file": file, "at": place.at, "record": record.name(), "view": view.0, "op": entry.op.0,
            "commit": commit.0, "time": entry.stamp.time, "client": u64::from(entry.client), "seq": entry.seq.0,
            "command": entry.command.to_string(),
        }),
        _ => serde_json::json!({
            "file": file, "at": place.at, "record": record.name(), "text": record.to_string(),
        }),
    }
}

/// A time as `2026-11-27T07:10:00.123Z`.
fn utc(time: UnixMs) -> String {
    let (ms, seconds) = (time % 1000, time / 1000);
    let (second, minute, hour, days) = (seconds % 60, seconds / 60 % 60, seconds / 3600 % 24, seconds / 86_400);
    // Years that begin in March have their leap day at the end.
    let since = days + 719_468;
    let (era, day_of_era) = (since / 146_097, since % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(1_795_763_400_123), "2026-11-27T07:10:00.123Z");
        assert_eq!(utc(4_102_444_799_999), "2099-12-31T23:59:59.999Z");
    }
}
