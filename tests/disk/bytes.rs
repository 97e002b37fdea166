//! A log is cut and flipped at every byte, its files are lost and mixed up: a prefix is read, or damage is told.

use crate::files::{BOOT, Files, OWNER, entry, life, member, put, snapshot, steps, view, written};
use proptest::prelude::*;
use understudy::core::disk::segment::{Mark, RECORDS_AT, SECTOR_BYTES};
use understudy::core::disk::{Ending, Fault, Fsync, Journal, Owner, Step};
use understudy::core::protocol::durable::{Nonsense, Record};
use understudy::core::protocol::{Rank, ViewNumber};
use understudy::core::store::{Command, LogEntry, OpNumber, Store};

/// Without snapshots: nothing is removed.
const NO_SNAPSHOT: u64 = u64::MAX;

fn newest(files: &Files) -> u64 {
    *files.0.keys().next_back().expect("there are files")
}

#[test]
fn what_is_written_is_read_again() {
    let records = life(60, NO_SNAPSHOT);
    for group in [1, 2, 7, 100] {
        let files = written(&records, group, 1);
        assert!(files.0.len() > 3, "several files");
        let (read, end) = files.records(BOOT).expect("whole");
        assert_eq!(read, records);
        assert_eq!(end.end.expect("there is a log").torn_bytes, 0);
        assert_eq!(files.records(BOOT + 1).expect("whole after a restart of the machine").0, records);
    }
}

#[test]
fn what_a_server_had_is_found() {
    let records = life(60, NO_SNAPSHOT);
    let (had, _) = written(&records, 3, 1).recover(BOOT).expect("whole");
    assert_eq!((had.member, had.holder.clone(), had.op()), (Some(member(1)), Some((member(1), view(1))), OpNumber(60)));
    assert_eq!(had.store.op(), OpNumber(59), "the last write is not known to be committed");
    let mut store = Store::default();
    for record in &records {
        if let Record::Entry { entry, .. } = record
            && entry.op <= OpNumber(59)
        {
            store.apply(LogEntry::clone(entry));
        }
    }
    assert_eq!(had.store.full_digest(), store.full_digest());
}

#[test]
fn snapshots_let_older_files_go_and_give_the_same() {
    let (plain, _) = written(&life(90, NO_SNAPSHOT), 3, 1).recover(BOOT).expect("whole");
    let files = written(&life(90, 25), 3, 1);
    let (had, end) = files.recover(BOOT).expect("whole");
    assert!(end.end.expect("there is a log").first > 1, "older files are gone");
    assert_eq!((had.op(), had.holder), (plain.op(), plain.holder));
    assert_eq!((had.since, plain.since), (Some(member(1)), Some(member(1))), "who has installed that view");
    assert_eq!(had.store.op(), plain.store.op());
    assert_eq!(had.store.full_digest(), plain.store.full_digest());
}

#[test]
fn a_log_that_is_cut_off_anywhere_is_a_prefix_or_damaged() {
    let records = life(30, NO_SNAPSHOT);
    // The last groups have no mark that they are on the disk.
    let files = written(&records, 2, 5);
    let last = newest(&files);
    for boot in [BOOT, BOOT + 1] {
        for (number, bytes) in &files.0 {
            let proven = Mark::newest(bytes).expect("there is a mark").proven(boot);
            for at in 0..bytes.len() {
                let mut cut = files.clone();
                cut.0.insert(*number, bytes[..at].to_vec());
                let torn = *number == last && at as u64 >= proven;
                match cut.records(boot) {
                    Ok((read, _)) => {
                        assert!(torn, "{number} cut at {at} is told");
                        assert!(records.starts_with(&read), "{number} cut at {at}");
                    }
                    Err(damage) => assert!(!torn, "{number} cut at {at}: {damage}"),
                }
            }
        }
    }
}

#[test]
fn a_log_that_is_cut_between_two_records_is_not_whole() {
    let records = life(6, NO_SNAPSHOT);
    let files = written(&records, 1, 1);
    let shorter = written(&records[..records.len() - 1], 1, 1);
    let (last, mut cut) = (newest(&files), files.clone());
    let end = shorter.0[&last].len();
    cut.0.get_mut(&last).expect("there").truncate(end);
    for boot in [BOOT, BOOT + 1] {
        let damage = cut.records(boot).expect_err("it was written further");
        assert!(matches!(damage.fault, Fault::CutOff { .. }), "{damage}");
        assert_eq!((damage.place.file, damage.place.at), (last, end as u64));
    }
}

#[test]
fn no_flipped_bit_is_overlooked() {
    let records = life(14, NO_SNAPSHOT);
    let files = written(&records, 2, 3);
    for boot in [BOOT, BOOT + 1] {
        for (number, bytes) in &files.0 {
            for at in 0..bytes.len() {
                let mut flipped = files.clone();
                flipped.0.get_mut(number).expect("there")[at] ^= 1 << (at % 8);
                // A mark is there twice.
                let is_mark = (SECTOR_BYTES as u64..RECORDS_AT).contains(&(at as u64));
                match flipped.records(boot) {
                    Ok((read, _)) => assert!(is_mark && read == records, "{number} flipped at {at}"),
                    Err(damage) => assert!(damage.place.file >= *number, "{damage}"),
                }
            }
        }
    }
}

#[test]
fn a_sector_of_zeros_is_a_torn_end_only_where_the_power_can_have_left_one() {
    let records = life(30, NO_SNAPSHOT);
    let files = written(&records, 2, 6);
    let last = newest(&files);
    for boot in [BOOT, BOOT + 1] {
        for (number, bytes) in &files.0 {
            let synced = Mark::newest(bytes).expect("there is a mark").synced;
            for at in (RECORDS_AT as usize..bytes.len()).step_by(SECTOR_BYTES) {
                let mut zeroed = files.clone();
                let sector = &mut zeroed.0.get_mut(number).expect("there")[at..(at + SECTOR_BYTES).min(bytes.len())];
                if sector.iter().all(|byte| *byte == 0) {
                    continue; // Part of a value that is all zeros.
                }
                sector.fill(0);
                match zeroed.records(boot) {
                    Ok((read, _)) => {
                        assert!(boot != BOOT && *number == last, "{number} zeros at {at} are told");
                        assert!((at + SECTOR_BYTES) as u64 > synced, "what was synced does not become zeros by itself");
                        assert!(records.starts_with(&read));
                    }
                    Err(damage) => assert!(damage.place.file >= *number, "{damage}"),
                }
            }
        }
    }
}

#[test]
fn files_that_are_missing_or_swapped_are_told() {
    let files = written(&life(60, NO_SNAPSHOT), 2, 1);
    let numbers: Vec<u64> = files.0.keys().copied().collect();
    for number in &numbers {
        let mut without = files.clone();
        without.0.remove(number);
        let damage = without.recover(BOOT).expect_err("a file is missing");
        match number {
            1 => assert_eq!(damage.fault, Fault::Nonsense(Nonsense::NoState)),
            _ => assert_eq!((damage.place.file, damage.fault), (*number, Fault::Missing)),
        }
    }
    for pair in numbers.windows(2) {
        let mut swapped = files.clone();
        let (one, two) = (files.0[&pair[0]].clone(), files.0[&pair[1]].clone());
        swapped.0.insert(pair[0], two);
        swapped.0.insert(pair[1], one);
        let damage = swapped.records(BOOT).expect_err("two files are swapped");
        assert_eq!(damage.fault, Fault::Number { found: pair[1] });
    }
    // A file of the same number, of the same rank, from another time.
    let other = written(&life(61, NO_SNAPSHOT)[1..], 2, 1);
    let mut mixed = files;
    mixed.0.insert(2, other.0[&2].clone());
    assert_eq!(mixed.records(BOOT).expect_err("it is another log").fault, Fault::Chain);
}

#[test]
fn the_log_of_somebody_else_is_not_taken() {
    for found in [Owner { rank: Rank(3), ..OWNER }, Owner { cluster: 78, ..OWNER }] {
        let (mut files, mut steps) = (Files::default(), Vec::new());
        let mut journal = Journal::after(&Ending::default(), found, BOOT, 1 << 20, &mut steps);
        journal.group(&life(3, NO_SNAPSHOT), Fsync::Never, &mut steps);
        files.carry_out(&steps);
        assert_eq!(files.records(BOOT).expect_err("not ours").fault, Fault::Owner { expected: OWNER, found });
    }
}

#[test]
fn a_value_that_is_all_zeros_is_not_taken_for_a_torn_end() {
    let zeros = entry(1, Command::Put { key: "zeros".into(), value: vec![0; 4 * SECTOR_BYTES].into() });
    let records = vec![zeros, put(2, 10)];
    let files = written(&records, 1, 1);
    let mut flipped = files.clone();
    let bytes = flipped.0.get_mut(&1).expect("there");
    bytes[RECORDS_AT as usize + 20] ^= 1;
    for boot in [BOOT, BOOT + 1] {
        assert_eq!(flipped.records(boot).expect_err("flipped").fault, Fault::Broken);
    }
}

#[test]
fn a_state_that_is_not_whole_counts_for_nothing() {
    let mut records = life(20, NO_SNAPSHOT);
    let (before, _) = written(&records, 3, 1).recover(BOOT).expect("whole");
    let mut other = Store::default();
    let Record::Entry { entry, .. } = put(1, 10) else { panic!("a write") };
    other.apply(LogEntry::clone(&entry));
    let mut parts = snapshot(&other);
    parts[0] = Record::Begin { member: member(2), view: None, replaces: true };
    records.extend(parts[..parts.len() - 1].to_vec());
    let (had, _) = written(&records, 3, 1).recover(BOOT).expect("whole");
    assert_eq!((had.holder.clone(), had.op()), (before.holder.clone(), before.op()));
    records.extend(parts.pop());
    let (had, _) = written(&records, 3, 1).recover(BOOT).expect("whole");
    assert_eq!((had.member, had.op(), had.store.full_digest()), (Some(member(2)), OpNumber(1), other.full_digest()));
    assert_eq!(had.holder, None, "it has not said yet that it has everything");
}

#[test]
fn a_view_drops_what_does_not_belong_to_it() {
    let mut records = life(20, NO_SNAPSHOT);
    let mut newer = (*view(2)).clone();
    newer.number = ViewNumber(2);
    records.push(Record::View { member: member(2), view: newer.into(), keep: OpNumber(19) });
    let (had, _) = written(&records, 3, 1).recover(BOOT).expect("whole");
    let holder = had.holder.as_ref().map(|(member, view)| (*member, view.number));
    assert_eq!((had.op(), holder), (OpNumber(19), Some((member(2), ViewNumber(2)))));
    records.push(Record::View { member: member(1), view: view(3), keep: OpNumber(3) });
    let damage = written(&records, 3, 1).recover(BOOT).expect_err("op 18 is committed");
    assert!(matches!(&damage.fault, Fault::Nonsense(Nonsense::Committed { keep: OpNumber(3), .. })), "{damage}");
}

proptest! {
    /// Whoever writes may stop at any step, and be killed in the middle of one: everything that was marked before is
    /// there, and going on works.
    #[test]
    fn a_writer_that_stops_anywhere_leaves_a_prefix(
        group in 1_usize..6, sync_every in 1_usize..5, stop in any::<prop::sample::Index>(),
        part in any::<prop::sample::Index>(), snapshot_every in prop::sample::select(vec![NO_SNAPSHOT, 12]),
    ) {
        let records = life(40, snapshot_every);
        let groups = steps(&records, group, sync_every);
        let all: Vec<_> = groups.iter().flatten().cloned().collect();
        let stop = stop.index(all.len());
        let mut files = Files::default();
        files.carry_out(&all[..stop]);
        // Of the step that it is in, a part is done.
        let cut = |bytes: &[u8]| bytes[..part.index(bytes.len())].to_vec();
        match &all[stop] {
            Step::Write { number, at, bytes } if *at >= RECORDS_AT => {
                files.carry_out(&[Step::Write { number: *number, at: *at, bytes: cut(bytes) }]);
            }
            Step::Create { number, bytes } => {
                files.carry_out(&[Step::Create { number: *number, bytes: cut(bytes) }]);
            }
            _ => {}
        }
        let mut done = 0;
        let marked = groups.iter().take_while(|steps| { done += steps.len(); done <= stop }).count();
        let promised = marked.saturating_sub(1) * group;
        let (had, ending) = files.recover(BOOT).expect("no damage");
        let ops = |records: &[Record]| {
            records.iter().filter(|record| matches!(record, Record::Entry { .. })).count() as u64
        };
        prop_assert!(had.op().0 >= ops(&records[..promised.min(records.len())]));
        let mut again = Vec::new();
        let mut journal = Journal::after(&ending, OWNER, BOOT + 1, 4 << 10, &mut again);
        let op = had.op().0;
        for next in op + 1..op + 30 {
            journal.group(&[put(next, 300)], Fsync::Never, &mut again);
        }
        files.carry_out(&again);
        let (more, _) = files.recover(BOOT + 1).expect("no damage");
        prop_assert_eq!(more.op().0, op + 29);
    }

    /// The metadata server's log, wherever it stops: the newest view that was promised is there, and older files go.
    #[test]
    fn a_summary_takes_the_place_of_what_was_before(
        group in 1_usize..4, summary_every in 2_u64..9, stop in any::<prop::sample::Index>(),
    ) {
        let chosen = |number: u64| match number % summary_every {
            0 => Record::Summary { run: 3, view: view(number), from: None },
            _ => Record::Chosen { view: view(number), from: None },
        };
        let records: Vec<_> = std::iter::once(Record::Run { run: 3 }).chain((1..60).map(chosen)).collect();
        let groups = steps(&records, group, 1);
        let all: Vec<_> = groups.iter().flatten().cloned().collect();
        let stop = stop.index(all.len());
        let mut files = Files::default();
        files.carry_out(&all[..stop]);
        let mut done = 0;
        let marked = groups.iter().take_while(|steps| { done += steps.len(); done <= stop }).count();
        let promised = (marked.saturating_sub(1) * group).min(records.len()) as u64;
        let (had, _) = files.recover(BOOT).expect("no damage");
        let newest = had.chosen.as_ref().map_or(0, |view| view.number.0);
        prop_assert!(newest + 1 >= promised, "view {newest} of {promised}");
        prop_assert!(promised == 0 || had.run == 3);
        prop_assert!(had.since_summary <= summary_every);
        prop_assert!(files.0.len() <= 3, "{} files", files.0.len());
    }
}
