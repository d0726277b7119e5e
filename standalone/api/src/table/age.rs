//! How long ago something was, as people read it: fewer digits the longer it is.

use jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// Time since an instant in RFC 3339.
pub(super) fn since(text: Option<&str>, now: Timestamp) -> String {
    let Some(then) = text.and_then(|text| text.parse::<Timestamp>().ok()) else {
        return "<unknown>".to_owned();
    };
    let seconds = now.as_second() - then.as_second();
    if seconds < -1 { "<invalid>".to_owned() } else { shorten(seconds.max(0)) }
}

fn shorten(seconds: i64) -> String {
    // A large unit, and below some bound a small one beside it.
    let two = |large: i64, sign: char, small: i64, small_sign: char| {
        let (whole, rest) = (seconds / large, seconds % large / small);
        if rest == 0 { format!("{whole}{sign}") } else { format!("{whole}{sign}{rest}{small_sign}") }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, 'm', 1, 's'),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, 'h', MINUTE, 'm'),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, 'd', HOUR, 'h'),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(YEAR, 'y', DAY, 'd'),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (130, "2m10s"),
            (700, "11m"),
            (3 * HOUR + 300, "3h5m"),
            (9 * HOUR, "9h"),
            (3 * DAY + 2 * HOUR, "3d2h"),
            (30 * DAY, "30d"),
            (3 * YEAR + DAY, "3y1d"),
            (9 * YEAR, "9y"),
        ] {
            assert_eq!(shorten(seconds), expected);
        }
        assert_eq!(since(None, Timestamp::UNIX_EPOCH), "<unknown>");
    }
}
