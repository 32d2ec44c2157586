//! The chart: for each line of the budgets, how much of it is used.

use std::fmt::Write as _;

use super::{Line, shown};

const WIDTH: u32 = 900;
const ROW: u32 = 30;
const TOP: u32 = 60;
/// Where the bars begin, and how long one is that uses its budget up.
const LEFT: u32 = 430;
const FULL: f64 = 260.0;
/// Bars end here, whatever they stand for.
const LONGEST: f64 = 1.3;

/// Draws it as SVG.
pub fn draw(lines: &[Line], date: &str) -> String {
    let drawn: Vec<_> = lines
        .iter()
        .filter_map(|line| line.used().map(|used| (line, used)))
        .collect();
    let height = TOP + ROW * u32::try_from(drawn.len()).unwrap_or(0) + 20;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="12">
<title>How much of each budget is used</title>
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
<text x="16" y="26" font-size="16" fill="#1a1a1a">How much of each budget is used ({date}); shorter is better</text>
"##
    );
    for (place, (line, used)) in drawn.iter().enumerate() {
        let y = TOP + ROW * u32::try_from(place).unwrap_or(0);
        let length = used.clamp(0.005, LONGEST) * FULL;
        let colour = if line.is_met() { "#2f7d5b" } else { "#b4442f" };
        // Writing to a string does not fail.
        let _ = writeln!(
            svg,
            r##"<text x="{label}" y="{baseline}" text-anchor="end" fill="#1a1a1a">{name}</text><rect x="{LEFT}" y="{y}" width="{length:.1}" height="18" fill="{colour}"/><text x="{value_at:.1}" y="{baseline}" fill="#1a1a1a">{value} {unit}</text>"##,
            label = LEFT - 8,
            baseline = y + 13,
            name = escaped(line.name),
            value_at = f64::from(LEFT) + length + 6.0,
            value = shown(line.measured),
            unit = escaped(line.unit),
        );
    }
    let budget = f64::from(LEFT) + FULL;
    let _ = writeln!(
        svg,
        r##"<line x1="{budget}" y1="{from}" x2="{budget}" y2="{to}" stroke="#1a1a1a" stroke-dasharray="4 3"/><text x="{budget}" y="{label}" text-anchor="middle" fill="#1a1a1a">budget</text>
</svg>"##,
        from = TOP - 6,
        to = height - 16,
        label = TOP - 12,
    );
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
