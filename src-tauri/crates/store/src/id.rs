//! Names of things, and moments. Ids are ULIDs: sortable by the moment they were made, 26 characters.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::StoreError;

/// The last moment a ULID can name: 48 bits of milliseconds, in the year 10889.
const LAST_MS: u64 = (1 << 48) - 1;

/// A moment, in milliseconds since 1970-01-01 UTC. Always passed in; this crate reads no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since 1970; later than the year 10889 is held at that.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(if ms > LAST_MS { LAST_MS } else { ms })
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// `20260131T235959Z`: sorts as time does, and is a valid file name everywhere.
    pub(crate) fn file_stamp(self) -> String {
        let seconds = self.0 / 1000;
        let (year, month, day) = civil_date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }
}

/// Year, month and day of a day counted from 1970-01-01.
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
const fn civil_date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

impl From<SystemTime> for Timestamp {
    /// A clock set before 1970 reads as 1970.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self::from_millis(u64::try_from(since.as_millis()).unwrap_or(LAST_MS))
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.cast_signed()))
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let ms = value.as_i64()?;
        u64::try_from(ms).map(Self::from_millis).map_err(|_| FromSqlError::OutOfRange(ms))
    }
}

macro_rules! ulid_newtype {
    ($(#[$doc:meta])* $name:ident, $noun:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(Ulid);

        impl $name {
            /// A new id from the moment and fresh randomness, of which the low 80 bits are used.
            #[must_use]
            pub const fn new(now: Timestamp, random: u128) -> Self {
                Self(Ulid::from_parts(now.0, random & ((1 << 80) - 1)))
            }

            /// The moment it was made.
            #[must_use]
            pub const fn created(self) -> Timestamp {
                Timestamp::from_millis(self.0.timestamp_ms())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut buffer = [0; ulid::ULID_LEN];
                f.write_str(self.0.array_to_str(&mut buffer))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = StoreError;

            /// Only the canonical form: 26 characters of Crockford's base 32, in upper or lower case.
            fn from_str(text: &str) -> Result<Self, StoreError> {
                Ulid::from_string(&text.to_ascii_uppercase())
                    .ok()
                    .filter(|id| id.to_string() == text.to_ascii_uppercase())
                    .map(Self)
                    .ok_or_else(|| StoreError::InvalidId {
                        noun: $noun,
                        text: text.chars().take(64).collect(),
                    })
            }
        }

        impl TryFrom<String> for $name {
            type Error = StoreError;

            fn try_from(text: String) -> Result<Self, StoreError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.to_string()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse().map_err(FromSqlError::other)
            }
        }
    };
}

ulid_newtype! {
    /// Names a conversation.
    ConversationId, "conversation"
}

ulid_newtype! {
    /// Names a message: a node of its conversation's tree.
    NodeId, "message"
}

ulid_newtype! {
    /// Names a snapshot: the saved state of a conversation at one of its messages.
    SnapshotId, "snapshot"
}

ulid_newtype! {
    /// Names a model file that is known.
    ModelId, "model"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text_and_json() {
        let id = NodeId::new(Timestamp::from_millis(1_700_000_000_123), u128::MAX);
        let text = id.to_string();
        assert_eq!(text.len(), 26);
        assert_eq!(text.parse::<NodeId>().unwrap(), id);
        assert_eq!(text.to_lowercase().parse::<NodeId>().unwrap(), id);
        assert_eq!(id.created().as_millis(), 1_700_000_000_123);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<NodeId>(&json).unwrap(), id);
    }

    #[test]
    fn later_ids_sort_later() {
        let early = ConversationId::new(Timestamp::from_millis(1), u128::MAX);
        let late = ConversationId::new(Timestamp::from_millis(2), 0);
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn anything_but_a_ulid_is_refused() {
        for text in [
            "",
            "x",
            "../../etc/passwd",
            "01ARZ3NDEKTSV4RRFFQ69G5FA",
            "01ARZ3NDEKTSV4RRFFQ69G5FAVV",
            "81ARZ3NDEKTSV4RRFFQ69G5FAV",
            "01ARZ3NDEKTSV4RRFFQ69G5FA'",
            "O1ARZ3NDEKTSV4RRFFQ69G5FAV",
        ] {
            let error = text.parse::<ConversationId>().unwrap_err();
            assert_eq!(error.code(), "invalid_id", "{text:?}");
        }
    }

    #[test]
    fn file_stamps_are_calendar_dates() {
        let check = |ms, expect: &str| assert_eq!(Timestamp::from_millis(ms).file_stamp(), expect);
        check(0, "19700101T000000Z");
        check(951_782_399_999, "20000228T235959Z");
        check(951_782_400_000, "20000229T000000Z");
        check(1_772_323_199_000, "20260228T235959Z");
        check(1_772_323_200_000, "20260301T000000Z");
    }
}
