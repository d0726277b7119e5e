//! Durations as Kubernetes' programs write them (Go's `time.ParseDuration`): `1h30m`, `0`, `2.5s`.

use std::time::Duration;

/// Reads a duration. A bare `0` needs no unit; negative ones are refused, as nothing here runs backwards.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 24h, 90m, 1m30s or 0");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        for (text, seconds) in
            [("24h0m0s", Some(86_400.0)), ("1h", Some(3600.0)), ("0", Some(0.0)), ("0s", Some(0.0))]
                .into_iter()
                .chain([("1m30s", Some(90.0)), ("2.5s", Some(2.5)), ("250ms", Some(0.25))])
                .chain(["", "5", "-1s", "1d", "h", "1h2", "1..2s"].map(|text| (text, None)))
        {
            assert_eq!(parse(text).ok(), seconds.map(Duration::from_secs_f64), "{text:?}");
        }
    }
}
