//! What a run found: the table that is printed, `bench/results.json`, the chart, and the table of
//! docs/benchmarks.md.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::failure::{Outcome, failed};
use crate::price::Price;

mod chart;

/// Where the table stands in docs/benchmarks.md.
const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// What a budget allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// Up to this.
    AtMost(f64),
    /// From this on.
    AtLeast(f64),
    /// Anything: it is printed.
    None,
}

/// A line of the budgets.
#[derive(Debug, Clone)]
pub struct Line {
    /// What is measured.
    pub name: &'static str,
    /// What it may be, in words.
    pub budget: String,
    /// What it may be.
    pub limit: Limit,
    /// What it is.
    pub measured: f64,
    /// What it is of what it is compared with, in the same run.
    pub reference: Option<f64>,
    /// In which unit.
    pub unit: &'static str,
}

impl Line {
    /// Whether the budget is met.
    pub fn is_met(&self) -> bool {
        match self.limit {
            Limit::AtMost(most) => self.measured <= most,
            Limit::AtLeast(least) => self.measured >= least,
            Limit::None => true,
        }
    }

    /// How much of the budget is used: 1 is all of it.
    fn used(&self) -> Option<f64> {
        match self.limit {
            Limit::AtMost(most) => Some(self.measured.max(0.0) / most),
            Limit::AtLeast(least) => Some(least / self.measured),
            Limit::None => None,
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "budget": self.budget,
            "measured": rounded(self.measured),
            "reference": self.reference.map(rounded),
            "unit": self.unit,
            "met": self.is_met(),
        })
    }
}

/// What is told beside the budgets.
#[derive(Debug, Clone)]
struct Figure {
    name: &'static str,
    measured: f64,
    reference: Option<f64>,
    unit: &'static str,
}

/// All that a run found.
#[derive(Debug)]
pub struct Report {
    date: String,
    machine: Value,
    lines: Vec<Line>,
    figures: Vec<Figure>,
    price: Option<Price>,
    /// Scenarios that could not be measured.
    missing: Vec<String>,
}

impl Report {
    /// The report of a run on this machine.
    pub const fn new(date: String, machine: Value) -> Self {
        Self {
            date,
            machine,
            lines: Vec::new(),
            figures: Vec::new(),
            price: None,
            missing: Vec::new(),
        }
    }

    /// Notes that a scenario could not be measured.
    pub fn missing(&mut self, scenario: &str) {
        self.missing.push(scenario.to_owned());
    }

    /// Adds a line of the budgets.
    pub fn line(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Adds a figure that has no budget.
    pub fn figure(
        &mut self,
        name: &'static str,
        measured: f64,
        reference: Option<f64>,
        unit: &'static str,
    ) {
        self.figures.push(Figure {
            name,
            measured,
            reference,
            unit,
        });
    }

    /// Adds the estimate of the price.
    pub const fn price(&mut self, price: Price) {
        self.price = Some(price);
    }

    /// The results in JSON.
    fn json(&self) -> Value {
        let figures = self.figures.iter().map(|figure| {
            json!({
                "name": figure.name,
                "measured": rounded(figure.measured),
                "reference": figure.reference.map(rounded),
                "unit": figure.unit,
            })
        });
        json!({
            "date": self.date,
            "machine": self.machine,
            "budgets": self.lines.iter().map(Line::json).collect::<Vec<_>>(),
            "figures": figures.collect::<Vec<_>>(),
            "not_measured": self.missing,
            "price": self.price.map(|price| price.json()),
        })
    }

    /// The results as a table in Markdown, which reads well on a terminal too.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let cell = |value: Option<f64>, unit: &str| {
            value.map_or_else(String::new, |value| format!("{} {unit}", shown(value)))
        };
        text.push_str("| what | budget | measured | reference | met |\n");
        text.push_str("| --- | --- | --- | --- | --- |\n");
        for line in &self.lines {
            let met = match line.limit {
                Limit::None => "",
                _ if line.is_met() => "yes",
                _ => "**no**",
            };
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {met} |",
                line.name,
                line.budget,
                cell(Some(line.measured), line.unit),
                cell(line.reference, line.unit),
            );
        }
        if !self.figures.is_empty() {
            text.push_str("\n| beside | measured | reference |\n| --- | --- | --- |\n");
            for figure in &self.figures {
                let _ = writeln!(
                    text,
                    "| {} | {} | {} |",
                    figure.name,
                    cell(Some(figure.measured), figure.unit),
                    cell(figure.reference, figure.unit),
                );
            }
        }
        if !self.missing.is_empty() {
            let _ = writeln!(text, "\nNot measured: {}.", self.missing.join(", "));
        }
        if let Some(price) = &self.price {
            let _ = writeln!(text, "\n{}", price.sentence());
        }
        text
    }

    fn of_machine(&self, field: &str) -> String {
        match self.machine.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }

    /// Where and when, in a sentence.
    fn circumstances(&self) -> String {
        let of = |field| self.of_machine(field);
        format!(
            "Measured on {} by `make bench` on {} processors ({}), {} GiB of memory, Linux {}, \
             workerd {}; load generator and server share the machine.",
            self.date,
            of("processors"),
            of("processor"),
            of("memory_gib"),
            of("kernel"),
            of("workerd"),
        )
    }

    /// Writes `results.json` and `results.svg` into `directory`, and the table into the page.
    pub fn write(&self, directory: &Path, page: &Path) -> Outcome<()> {
        let json = serde_json::to_string_pretty(&self.json())?;
        fs::write(directory.join("results.json"), format!("{json}\n"))?;
        fs::write(
            directory.join("results.svg"),
            chart::draw(&self.lines, &self.date),
        )?;
        let before = fs::read_to_string(page)?;
        let found = before.split_once(BEGIN).and_then(|(head, rest)| {
            let (_, tail) = rest.split_once(END)?;
            Some((head, tail))
        });
        let Some((head, tail)) = found else {
            return failed(format!("{} has no place for the table", page.display()));
        };
        let text = format!(
            "{head}{BEGIN}\n\n{}\n\n{}\n{END}{tail}",
            self.circumstances(),
            self.table()
        );
        fs::write(page, text)?;
        Ok(())
    }
}

/// To four digits, which is more than a run tells.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(limit: Limit, measured: f64) -> Line {
        Line {
            name: "something",
            budget: "at most 2".to_owned(),
            limit,
            measured,
            reference: Some(1.5),
            unit: "ms",
        }
    }

    fn report(lines: Vec<Line>) -> Report {
        let mut report = Report::new("2026-11-25".to_owned(), json!({ "processors": 2 }));
        lines.into_iter().for_each(|line| report.line(line));
        report
    }

    #[test]
    fn a_budget_is_met_up_to_its_limit() {
        assert!(line(Limit::AtMost(2.0), 2.0).is_met());
        assert!(!line(Limit::AtMost(2.0), 2.1).is_met());
        assert!(line(Limit::AtLeast(2.0), 2.0).is_met());
        assert!(!line(Limit::AtLeast(2.0), 1.9).is_met());
        assert_eq!(line(Limit::AtLeast(2.0), 4.0).used(), Some(0.5));
        assert!(line(Limit::None, 9.0).is_met());
    }

    #[test]
    fn every_line_is_in_the_table_and_in_the_json() {
        let report = report(vec![
            line(Limit::AtMost(2.0), 1.234_567),
            line(Limit::AtMost(2.0), 3.0),
        ]);
        let table = report.table();
        assert!(table.contains("| something | at most 2 | 1.23 ms | 1.50 ms | yes |"));
        assert!(table.contains("| 3.00 ms | 1.50 ms | **no** |"));
        let json = report.json();
        assert_eq!(
            json["budgets"][0],
            json!({"name": "something", "budget": "at most 2", "measured": 1.235,
                "reference": 1.5, "unit": "ms", "met": true})
        );
        assert_eq!(json["machine"]["processors"], 2);
    }

    #[test]
    fn the_page_keeps_what_is_around_the_table() {
        let directory = std::env::temp_dir().join(format!("bench-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&directory).unwrap();
        let page = directory.join("page.md");
        fs::write(&page, format!("before\n{BEGIN}\nold\n{END}\nafter\n")).unwrap();
        let report = report(vec![line(Limit::AtMost(2.0), 1.0)]);
        report.write(&directory, &page).unwrap();
        report.write(&directory, &page).unwrap();
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with("\nafter\n"));
        assert_eq!(text.matches("| something |").count(), 1);
        assert!(!text.contains("old"));
        let svg = fs::read_to_string(directory.join("results.svg")).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("something"));
        fs::remove_dir_all(&directory).unwrap();
    }
}
