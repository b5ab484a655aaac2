//! When something is due that is done again and again: `hourly`, `daily 03:00`, `weekly sunday 03:00`, `every 6h`. All times are UTC.
//!
//! Each of these is a period and a distance: due is whatever is a multiple of the period plus the distance, counted from the beginning of unix time, a Thursday. So
//! there is no calendar to reckon with, and no hour that comes twice or never.

use std::str;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// From the one that unix time began with.
const DAYS: [&str; 7] = ["thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"];

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    period_ms: u64,
    /// Less than the period.
    distance_ms: u64,
}

impl Schedule {
    /// Reads one; `None` if nothing is ever due, which the empty text says.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn parse(text: &[u8]) -> Result<Option<Self>, String> {
        const FORMS: &str =
            "must be empty, hourly, daily [HH:MM], weekly DAY [HH:MM], or every NUMBER followed by m, h or d";
        let text = str::from_utf8(text).map_err(|_| FORMS)?.to_ascii_lowercase();
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let of = |period_ms, distance_ms| Some(Self { period_ms, distance_ms });
        let found = match words[..] {
            [] => return Ok(None),
            ["hourly"] => of(HOUR_MS, 0),
            ["daily"] => of(DAY_MS, 0),
            ["daily", time] => time_ms(time).and_then(|time| of(DAY_MS, time)),
            ["weekly", day] => day_ms(day).and_then(|day| of(7 * DAY_MS, day)),
            ["weekly", day, time] => {
                day_ms(day).zip(time_ms(time)).and_then(|(day, time)| of(7 * DAY_MS, day + time))
            }
            ["every", period] => period_ms(period).and_then(|period| of(period, 0)),
            _ => None,
        };
        found.map(Some).ok_or_else(|| FORMS.to_owned())
    }

    /// The first time it is due after another, both in unix milliseconds.
    pub(crate) fn next_after(self, ms: u64) -> u64 {
        let Self { period_ms, distance_ms } = self;
        let Some(since) = ms.checked_sub(distance_ms) else { return distance_ms };
        (since / period_ms + 1).saturating_mul(period_ms).saturating_add(distance_ms)
    }
}

/// `HH:MM`.
fn time_ms(text: &str) -> Option<u64> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |text: &str, below: u64| {
        let is_one = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| is_one && *number < below)
    };
    Some(two_digits(hour, 24)? * HOUR_MS + two_digits(minute, 60)? * MINUTE_MS)
}

/// A day of the week, by its name or the first three letters of that.
fn day_ms(text: &str) -> Option<u64> {
    let day = DAYS.iter().position(|day| *day == text || day[..3] == *text)?;
    Some(day as u64 * DAY_MS)
}

/// Minutes, hours or days.
fn period_ms(text: &str) -> Option<u64> {
    let unit = match text.bytes().last()? {
        b'm' => MINUTE_MS,
        b'h' => HOUR_MS,
        b'd' => DAY_MS,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    let number: u64 = number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))?;
    number.checked_mul(unit).filter(|period| *period > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sunday, 1 November 2026, 02:30 UTC.
    const SUNDAY_MS: u64 = 1_793_500_200_000;

    #[test]
    fn it_is_due_when_it_says() {
        for (text, minutes) in [
            ("hourly", 30),
            ("daily", 21 * 60 + 30),
            ("daily 03:00", 30),
            ("DAILY  02:30", 24 * 60),
            ("weekly sunday 03:00", 30),
            ("weekly sun", 7 * 24 * 60 - 150),
            ("weekly mon 00:00", 21 * 60 + 30),
            ("weekly saturday 23:59", 6 * 24 * 60 + 21 * 60 + 29),
            ("every 15m", 15),
            ("every 6h", 3 * 60 + 30),
            ("every 1d", 21 * 60 + 30),
        ] {
            let schedule = Schedule::parse(text.as_bytes()).unwrap().unwrap();
            assert_eq!(schedule.next_after(SUNDAY_MS), SUNDAY_MS + minutes * MINUTE_MS, "{text}");
            let late = schedule.next_after(SUNDAY_MS) - 1;
            assert_eq!(schedule.next_after(late), late + 1, "{text}");
        }
        let daily = Schedule::parse(b"daily 03:00").unwrap().unwrap();
        assert_eq!(daily.next_after(0), 3 * HOUR_MS);
        assert_eq!(daily.next_after(u64::MAX), u64::MAX);
    }

    #[test]
    fn what_is_none_is_refused() {
        assert_eq!(Schedule::parse(b" "), Ok(None));
        for text in [
            "nightly",
            "daily 3:00",
            "daily 24:00",
            "daily 00:60",
            "daily +3:00",
            "daily 03:00 x",
            "weekly",
            "weekly su",
            "weekly 03:00",
            "every",
            "every 0h",
            "every h",
            "every 5",
            "every +5m",
            "every 5s",
            "every 999999999999999h",
            "0 3 * * *",
            "every 5\u{e9}",
            "\u{e9}",
        ] {
            assert!(Schedule::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Schedule::parse(b"daily \xff").unwrap_err().starts_with("must be empty, hourly"));
    }
}
