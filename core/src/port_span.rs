//! Ranges of ports, as pools have them.

use std::fmt;

/// All ports from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortSpan {
    first: u16,
    last: u16,
}

impl PortSpan {
    /// The range; `None` if it would be empty or hold port 0.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first > 0 && first <= last).then_some(Self { first, last })
    }

    /// Reads `30000-30099` or one port; what is wrong with it otherwise.
    pub fn parse(text: &str) -> Result<Self, String> {
        let port =
            |text: &str| text.trim().parse::<u16>().map_err(|_| format!("{:?} is not a port", text.trim()));
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        Self::new(first, last).ok_or_else(|| format!("{text:?} is no range of ports"))
    }

    /// The lowest port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub fn last(self) -> u16 {
        self.last
    }

    /// Whether a port is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for PortSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges_and_single_ports() {
        for (text, want) in [
            ("30000-30099", Ok("30000-30099")),
            ("30000 - 30099", Ok("30000-30099")),
            ("30080", Ok("30080")),
            ("7-7", Ok("7")),
            ("9-7", Err("\"9-7\" is no range of ports")),
            ("0-7", Err("\"0-7\" is no range of ports")),
            ("70000", Err("\"70000\" is not a port")),
            ("", Err("\"\" is not a port")),
        ] {
            let got = PortSpan::parse(text).map(|range| range.to_string());
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }
}
