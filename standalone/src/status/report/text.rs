//! A report for people.

use super::Report;

/// Findings, and pending load balancers, that fit on a screen; JSON has all.
const MOST: usize = 20;

impl Report {
    /// On one screen.
    pub(crate) fn text(&self) -> String {
        let blocks = [self.parts(), self.counts(), self.usage(), self.findings(), self.rest()];
        let blocks: Vec<_> = blocks.into_iter().filter(|block| !block.is_empty()).collect();
        blocks.join("\n")
    }

    fn parts(&self) -> String {
        let head = row(["PART", "NAMESPACE", "READY", "VERSION", ""]);
        let parts = self.parts.iter().map(|part| {
            let ready = format!("{}/{}", part.ready, part.wanted);
            row([&part.name, &part.namespace, &ready, &part.version, &part.remark()])
        });
        let mut text =
            if self.parts.is_empty() { String::new() } else { table(std::iter::once(head).chain(parts)) };
        for leader in self.leaders.iter() {
            text += &line(&format!("Lease {}/portolan-controllers: {}", leader.namespace, leader.text()));
        }
        text
    }

    fn counts(&self) -> String {
        let services = &self.services;
        let kinds = services.by_type.iter().map(|(kind, number)| match (*kind, services.headless) {
            ("ClusterIP", headless) if headless > 0 => {
                format!("{number} {kind}, {headless} of them headless")
            }
            _ => format!("{number} {kind}"),
        });
        let kinds: Vec<_> = kinds.collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        let slices =
            self.endpoint_slices.map(|number| format!("; EndpointSlices: {number}")).unwrap_or_default();
        line(&format!("Services: {}{kinds}{slices}", services.total))
    }

    fn usage(&self) -> String {
        let head = row(["RANGE", "HELD", "FREE", ""]);
        let ranges = self
            .ranges
            .iter()
            .map(|usage| row([&usage.range, &usage.held.to_string(), &usage.free.to_string(), &usage.of]));
        table(std::iter::once(head).chain(ranges))
    }

    fn findings(&self) -> String {
        if self.findings.is_empty() {
            return String::new();
        }
        let head = row(["FINDING", ""]);
        let findings = self.findings.iter().take(MOST).map(|found| row([found.reason, &found.message]));
        table(std::iter::once(head).chain(findings)) + &more(self.findings.len())
    }

    fn rest(&self) -> String {
        let mut text = String::new();
        if !self.load_balancers_pending.is_empty() {
            let names: Vec<_> = self.load_balancers_pending.iter().take(MOST).map(String::as_str).collect();
            text += &line(&format!("Load balancers without an address: {}", names.join(", ")));
            text += &more(self.load_balancers_pending.len());
        }
        for note in &self.notes {
            text += &line(&format!("Note: {note}."));
        }
        let faults = self.faults();
        text + &line(
            &faults.map_or_else(|| "Nothing is wrong.".to_owned(), |faults| format!("Wrong: {faults}.")),
        )
    }
}

fn more(all: usize) -> String {
    if all > MOST { format!("… and {} more (-o json has all)\n", all - MOST) } else { String::new() }
}

fn row<const N: usize>(cells: [&str; N]) -> [String; N] {
    cells.map(str::to_owned)
}

/// Rows below each other, in columns.
fn table<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = rows.collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let rows = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        line(&cells.collect::<Vec<_>>().join("  "))
    });
    rows.collect()
}

/// One line, whatever somebody has written into an object.
fn line(text: &str) -> String {
    let plain = text.trim_end().chars().map(|letter| if letter.is_control() { '?' } else { letter });
    plain.chain(['\n']).collect()
}
