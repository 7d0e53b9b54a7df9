//! Time as templates show it: `strftime_now`.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

const SECONDS_PER_DAY: i64 = 86_400;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A moment, and how far the wall clock was from UTC then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalTime {
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub unix_seconds: i64,
    /// Seconds that the local clock is ahead of UTC; negative west of Greenwich.
    pub utc_offset_seconds: i32,
}

/// A civil date and time of day.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    weekday: i64,
    day_of_year: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl LocalTime {
    /// Formats like Python's `datetime.strftime` in the C locale; what it does not know it leaves
    /// as it stands.
    pub(super) fn strftime(self, format: &str) -> String {
        let civil = self.civil();
        let mut text = String::with_capacity(format.len() * 2);
        let mut rest = format.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            let mut directive = rest.next();
            // glibc's flag for "no padding", common in the templates of Llama 3 and its heirs.
            let unpadded = directive == Some('-');
            if unpadded {
                directive = rest.next();
            }
            let Some(directive) = directive else {
                text.push_str(if unpadded { "%-" } else { "%" });
                break;
            };
            civil.append(&mut text, directive, unpadded, self);
        }
        text
    }

    /// Days to civil date after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    fn civil(self) -> Civil {
        // Years beyond four digits are nobody's clock; the clamp keeps the arithmetic in range.
        let local = self
            .unix_seconds
            .clamp(-62_135_596_800, 253_402_300_799)
            .saturating_add(i64::from(self.utc_offset_seconds));
        let (days, seconds) = (local.div_euclid(SECONDS_PER_DAY), local.rem_euclid(SECONDS_PER_DAY));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * from_march + 2) / 153;
        let day = from_march - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let before_march = 59 + i64::from(leap);
        let day_of_year = if month > 2 { from_march + before_march + 1 } else { from_march - 306 + 1 };
        Civil {
            year,
            month,
            day,
            weekday: (days + 4).rem_euclid(7),
            day_of_year,
            hour: seconds / 3_600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

impl Civil {
    fn append(&self, text: &mut String, directive: char, unpadded: bool, time: LocalTime) {
        // Writing to a String cannot fail.
        let mut number = |value: i64, width: usize| {
            let width = if unpadded { 0 } else { width };
            let _ = write!(text, "{value:0width$}");
        };
        let month = name(&MONTHS, self.month - 1);
        let weekday = name(&WEEKDAYS, self.weekday);
        let twelve = (self.hour + 11) % 12 + 1;
        match directive {
            'Y' => number(self.year, 4),
            'y' => number(self.year.rem_euclid(100), 2),
            'm' => number(self.month, 2),
            'd' => number(self.day, 2),
            'j' => number(self.day_of_year, 3),
            'H' => number(self.hour, 2),
            'I' => number(twelve, 2),
            'M' => number(self.minute, 2),
            'S' => number(self.second, 2),
            'u' => number(if self.weekday == 0 { 7 } else { self.weekday }, 1),
            'w' => number(self.weekday, 1),
            'e' if unpadded => number(self.day, 0),
            's' => number(time.unix_seconds, 0),
            'e' => {
                let _ = write!(text, "{:2}", self.day);
            }
            'B' => text.push_str(month),
            'b' | 'h' => text.push_str(short(month)),
            'A' => text.push_str(weekday),
            'a' => text.push_str(short(weekday)),
            'p' => text.push_str(if self.hour < 12 { "AM" } else { "PM" }),
            'F' => text.push_str(&time.strftime("%Y-%m-%d")),
            'T' | 'X' => text.push_str(&time.strftime("%H:%M:%S")),
            'R' => text.push_str(&time.strftime("%H:%M")),
            'D' | 'x' => text.push_str(&time.strftime("%m/%d/%y")),
            'c' => text.push_str(&time.strftime("%a %b %e %H:%M:%S %Y")),
            // datetime.now() knows no zone, and Python then prints nothing.
            'Z' | 'z' => {}
            'n' => text.push('\n'),
            't' => text.push('\t'),
            '%' => text.push('%'),
            other => {
                text.push('%');
                if unpadded {
                    text.push('-');
                }
                text.push(other);
            }
        }
    }
}

fn name(names: &[&'static str], index: i64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

fn short(name: &str) -> &str {
    name.get(..3).unwrap_or(name)
}
