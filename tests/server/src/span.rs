//! Spans of time on the command line.

use std::time::Duration;

/// Reads `250ms`, `5s`, `2m`, or a bare number of seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("{unit:?} is no unit of time: ms, s or m")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is no span of time"))?;
    Ok(Duration::from_secs_f64(number * seconds))
}

/// Milliseconds with their fraction, for reports.
pub(crate) fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e5).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        for (text, millis) in [("250ms", 250), ("5s", 5000), ("0.5s", 500), ("2m", 120_000), ("3", 3000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert!(parse("5h").is_err());
        assert!(parse("s").is_err());
    }
}
