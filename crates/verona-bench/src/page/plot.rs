//! Bars on a logarithmic scale, as SVG.
//! Why our own: a few rectangles need no library, and the servers differ by powers of ten.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes one plot; nothing when there is nothing to show.
pub(super) fn bars(path: &Path, title: &str, bars: &[(String, f64)]) -> Result<()> {
    match svg(title, bars) {
        Some(text) => fs::write(path, text).with_context(|| format!("writing {}", path.display())),
        None => Ok(()),
    }
}

fn svg(title: &str, bars: &[(String, f64)]) -> Option<String> {
    let shown = || {
        bars.iter()
            .map(|(_, figure)| *figure)
            .filter(|it| *it > 0.0)
    };
    let least = shown().min_by(f64::total_cmp)?;
    let most = shown().max_by(f64::total_cmp)?;
    let (low, high) = (least.log10().floor(), (most * 1.05).log10().ceil());
    let decades = (high - low).max(1.0);
    let place = |figure: f64| LEFT + (figure.log10() - low) / decades * WIDE;
    let height = TOP + BAR * bars.len() as f64 + BOTTOM;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"14\">{}</text>\n",
        LEFT + WIDE + RIGHT,
        escaped(title)
    );
    let mut decade = low;
    while decade <= low + decades {
        let at = place(10_f64.powf(decade));
        let _ = writeln!(
            text,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#ccc\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\">{}</text>",
            height - BOTTOM,
            height - 8.0,
            10_f64.powf(decade)
        );
        decade += 1.0;
    }
    for (index, (name, figure)) in bars.iter().enumerate() {
        let y = TOP + BAR * index as f64;
        let end = place(figure.max(least));
        let colour = match (name.starts_with("verona"), name.starts_with("bare")) {
            (true, _) => "#2a7f62",
            (_, true) => "#b0b0b0",
            (_, _) => "#c0643c",
        };
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 6.0,
            y + 14.0,
            escaped(name),
            y + 3.0,
            (end - LEFT).max(1.0),
            BAR - 6.0,
            end + 5.0,
            y + 14.0,
            super::figure(Some(*figure)),
        );
    }
    text.push_str("</svg>\n");
    Some(text)
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    verona_xml::escape_text(&mut out, text);
    out
}

const LEFT: f64 = 260.0;
const WIDE: f64 = 480.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 26.0;
const BAR: f64 = 20.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_bar_for_each_and_is_well_formed() {
        let bars = [("verona".to_owned(), 0.15), ("a < b & c".to_owned(), 4.5)];
        let text = svg("CPU", &bars).unwrap_or_default();
        assert_eq!(text.matches("<rect x=").count(), 2);
        assert!(text.contains("a &lt; b &amp; c"));
        let mut scanner = verona_xml::Scanner::new(verona_xml::Limits::default());
        let header = "<stream xmlns='urn:none'>";
        assert!(scanner.scan(header.as_bytes()).is_ok());
        assert!(matches!(
            scanner.scan(text.as_bytes()),
            Ok(verona_xml::Scan::Element { .. })
        ));
    }

    #[test]
    fn nothing_gives_no_plot() {
        assert_eq!(svg("CPU", &[]), None);
        assert_eq!(svg("CPU", &[("a".to_owned(), 0.0)]), None);
    }
}
