//! How many tests passed, failed and were skipped, read from what the test programs print.
//! The programs are the only ones who know; a count of our own could drift from theirs.

use std::fmt;

/// Counts of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// The sum of the lines `test result: …` that every test program of Cargo ends with.
    pub(crate) fn of_cargo_test(lines: &[String]) -> Self {
        let mut total = Tally::default();
        for line in lines {
            let line = without_colours(line);
            if let Some((_, counts)) = line.split_once("test result: ") {
                total.add(&Self::of_counts(counts, ';'));
            }
        }
        total
    }

    /// The last line of the form `N passed, N failed[, N skipped]`.
    pub(crate) fn of_summary(lines: &[String]) -> Option<Self> {
        lines
            .iter()
            .rev()
            .map(|line| without_colours(line))
            .find_map(|line| {
                let line = line.trim();
                let is_summary = line.contains(" passed, ") && line.contains(" failed");
                is_summary.then(|| Self::of_counts(line, ','))
            })
    }

    /// Reads `12 passed; 0 failed; 1 ignored; …`; a part may have words before its number.
    fn of_counts(text: &str, separator: char) -> Self {
        let mut tally = Tally::default();
        for part in text.split(separator) {
            let words: Vec<&str> = part.split_whitespace().collect();
            let [.., number, what] = words.as_slice() else {
                continue;
            };
            let Ok(number) = number.parse::<usize>() else {
                continue;
            };
            match *what {
                "passed" => tally.passed += number,
                "failed" => tally.failed += number,
                "ignored" | "skipped" => tally.skipped += number,
                _ => {}
            }
        }
        tally
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// The text without the terminal's colour sequences (`ESC [ … letter`).
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            for skipped in characters.by_ref() {
                if skipped.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_results_of_cargo_test_are_added() {
        let output = "\
running 3 tests
test a ... ok
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: \u{1b}[31mFAILED\u{1b}[0m. 4 passed; 3 failed; 0 ignored; 0 measured; 5 filtered out
";
        let expected = Tally {
            passed: 6,
            failed: 3,
            skipped: 1,
        };
        assert_eq!(Tally::of_cargo_test(&lines(output)), expected);
        assert_eq!(
            Tally::of_cargo_test(&lines("error: could not compile")),
            Tally::default()
        );
    }

    #[test]
    fn the_last_summary_counts() {
        let output = "1 passed, 9 failed\nbidi prosody ok\n12 passed, 0 failed, 3 skipped\n";
        let expected = Tally {
            passed: 12,
            failed: 0,
            skipped: 3,
        };
        assert_eq!(Tally::of_summary(&lines(output)), Some(expected));
        assert_eq!(Tally::of_summary(&lines("nothing")), None);
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in ["3 passed, 0 failed", "3 passed, 1 failed, 2 skipped"] {
            assert_eq!(
                Tally::of_summary(&lines(text))
                    .map(|t| t.to_string())
                    .as_deref(),
                Some(text)
            );
        }
    }
}
