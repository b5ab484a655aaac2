//! Snapshots by a schedule, each a file of its own, of which the newest are kept: `backups/backup-20261101T030000Z.rdb`, in the engine's folder.
//!
//! What is there says what is due: the first time of the schedule after the newest file. So what was missed while no engine ran is made up for, once.

use std::fs;
use std::path::{Path, PathBuf};

use super::saving::Progress;
use super::{Persistence, beside_log, files, folder};
use crate::background::NEVER;
use crate::config::Config;
use crate::error::Result;
use crate::keyspace::Keyspace;

/// The folder that they are in, within the engine's.
pub(crate) const FOLDER: &str = "backups";

const BEGINNING: &str = "backup-";
const ENDING: &str = ".rdb";

/// After a failure the next one waits so long.
const RETRY_MS: u64 = 60_000;

const DAY_S: u64 = 24 * 60 * 60;

/// What is known of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backups {
    /// When the newest was begun, unix milliseconds; the inner `None`: there is none.
    newest_ms: Option<Option<u64>>,
    /// Before this none is begun: the last one failed.
    not_before_ms: u64,
}

impl Persistence {
    /// When a backup is due, as the options say, in unix milliseconds. It has been if that is over.
    pub(crate) fn next_backup_ms(&self, config: &Config, now_ms: u64) -> u64 {
        let Some(schedule) = config.backup_schedule() else { return NEVER };
        let mut backups = self.backups.lock();
        let newest = *backups.newest_ms.get_or_insert_with(|| newest_ms(&folder(config).join(FOLDER)));
        // The clock may have been set back.
        let due = newest.map_or(0, |newest| schedule.next_after(newest.min(now_ms)));
        due.max(backups.not_before_ms.min(now_ms.saturating_add(RETRY_MS)))
    }

    /// Writes the backup that is due at `now_ms` and was begun as a snapshot, and removes the oldest ones. O(data).
    ///
    /// # Errors
    /// The file can't be written, or it was cancelled.
    pub(crate) fn back_up(&self, keyspace: &Keyspace, progress: &Progress, now_ms: u64) -> Result<()> {
        let timer = keyspace.clock.timer();
        self.state.lock().started(now_ms / 1000);
        let folder = folder(&keyspace.config).join(FOLDER);
        let written = beside_log(self.log().as_deref(), || {
            files::create_folder(&folder).map_err(|error| files::told("Creating", &folder, &error))?;
            if self.lock.lock().is_some() {
                files::remove_abandoned(&folder, BEGINNING);
            }
            let target = folder.join(format!("{BEGINNING}{}{ENDING}", stamp(now_ms / 1000)));
            self.write_snapshot(keyspace, &target, super::SNAPSHOT_FORM, progress)
        });
        {
            let mut backups = self.backups.lock();
            match &written {
                Ok(_) => *backups = Backups { newest_ms: Some(Some(now_ms)), not_before_ms: 0 },
                Err(_) => backups.not_before_ms = now_ms.saturating_add(RETRY_MS),
            }
        }
        if written.is_ok() {
            remove_oldest(&folder, keyspace.config.backups_kept());
        }
        self.state.lock().ended(written.is_ok(), timer.elapsed());
        self.idle.notify_all();
        written.map(drop)
    }
}

/// The backups in a folder, the oldest first, with their unix seconds.
fn found_in(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let stamp = name.to_str()?.strip_prefix(BEGINNING)?.strip_suffix(ENDING)?;
            Some((seconds(stamp)?, entry.path()))
        })
        .collect();
    found.sort();
    found
}

fn newest_ms(folder: &Path) -> Option<u64> {
    found_in(folder).last().map(|(seconds, _)| seconds * 1000)
}

/// Removes all but the newest; with 0 none.
fn remove_oldest(folder: &Path, kept: usize) {
    let found = found_in(folder);
    let surplus = if kept == 0 { 0 } else { found.len().saturating_sub(kept) };
    for (_, path) in &found[..surplus] {
        // What can't be removed stays, and is tried again next time.
        let _ = fs::remove_file(path);
    }
}

/// Unix seconds as `20261101T030000Z`.
///
/// Years begin in March here, so that the day that is there every fourth year is the last of one, and months from March on have a rhythm of five: 31, 30, 31, 30, 31
/// days, 153 together. Four hundred years have 146,097 days.
fn stamp(seconds: u64) -> String {
    let (days, rest) = (seconds / DAY_S + 719_468, seconds % DAY_S);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z", era * 400 + year)
}

/// The unix seconds of a [`stamp`].
fn seconds(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    if date.len() != 8
        || time.len() != 6
        || !(date.bytes().chain(time.bytes())).all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let number = |text: &str| text.parse::<u64>().ok();
    let (year, month, day) = (number(&date[..4])?, number(&date[4..6])?, number(&date[6..])?);
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day.checked_sub(1)?;
    let days = (year * 365 + year / 4 - year / 100 + year / 400 + day_of_year).checked_sub(719_468)?;
    let (hour, minute, second) = (number(&time[..2])?, number(&time[2..4])?, number(&time[4..])?);
    let seconds = days * DAY_S + hour * 3600 + minute * 60 + second;
    // There is no other way to write it.
    (stamp(seconds) == text).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (unix, text) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_793_500_200, "20261101T023000Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(stamp(unix), text);
            assert_eq!(seconds(text), Some(unix));
        }
        for text in [
            "20260229T000000Z",
            "20261301T000000Z",
            "20260100T000000Z",
            "19691231T235959Z",
            "20260101T240000Z",
            "x",
            "2026+101T000000Z",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn times_are_read_as_they_are_written(unix in 0_u64..253_402_300_800) {
            prop_assert_eq!(seconds(&stamp(unix)), Some(unix));
        }

        #[test]
        fn any_text_is_read(text in ".*") {
            seconds(&text);
        }
    }

    #[test]
    fn the_newest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let names =
            ["backup-20260101T000000Z.rdb", "backup-20260102T000000Z.rdb", "backup-20260103T000000Z.rdb"];
        for name in names.iter().chain(&["backup-mine.rdb", "dump.rdb"]) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove_oldest(folder.path(), 0);
        assert_eq!(found_in(folder.path()).len(), 3);
        remove_oldest(folder.path(), 2);
        let left: Vec<_> = found_in(folder.path()).into_iter().map(|(_, path)| path).collect();
        assert_eq!(left, names[1..].iter().map(|name| folder.path().join(name)).collect::<Vec<_>>());
        assert!(folder.path().join("backup-mine.rdb").exists(), "what somebody named himself stays");
        assert_eq!(newest_ms(&folder.path().join("none")), None);
    }
}
