//! Reads how many tests passed and failed from the closing lines of the test runners.
//!
//! It only counts; whether a stage passed is decided by exit statuses in `test.rs`.

use std::ops::AddAssign;

/// Tests that passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Count {
    /// One check that passed or failed.
    pub fn one(passed: bool) -> Self {
        Count { passed: usize::from(passed), failed: usize::from(!passed) }
    }
}

/// Sums the closing lines of cargo test, pytest and `node --test` in a text.
pub fn count(text: &str) -> Count {
    let mut sum = Count::default();
    for line in text.lines().map(str::trim) {
        if line.starts_with("test result: ") || is_pytest(line) {
            sum += Count {
                passed: before(line, "passed"),
                failed: before(line, "failed") + before(line, "error"),
            };
        } else if let Some(rest) = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ ")) {
            match rest.split_once(' ') {
                Some(("pass", number)) => sum.passed += number.parse().unwrap_or(0),
                Some(("fail", number)) => sum.failed += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
    sum
}

/// Pytest's last line: `5 passed, 1 failed in 0.12s`, with or without `=` around it.
fn is_pytest(line: &str) -> bool {
    let line = line.trim_matches(['=', ' ']);
    line.starts_with(|c: char| c.is_ascii_digit())
        && line.contains(" in ")
        && ["passed", "failed", "error"].iter().any(|word| line.contains(word))
}

/// The number before the first word that starts so.
fn before(line: &str, word: &str) -> usize {
    let words: Vec<&str> = line.split([' ', '=', ',', ';', '.']).filter(|w| !w.is_empty()).collect();
    let at = words.iter().position(|w| w.starts_with(word));
    at.and_then(|at| words.get(at.checked_sub(1)?)).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_closing_lines_of_each_runner() {
        let cargo = "test a ... ok\ntest result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                     test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(count(cargo), Count { passed: 17, failed: 3 });
        assert_eq!(
            count("===== 2 failed, 40 passed, 1 skipped in 1.20s =====\n"),
            Count { passed: 40, failed: 2 }
        );
        assert_eq!(count("7 passed in 0.03s\n"), Count { passed: 7, failed: 0 });
        assert_eq!(count("1 failed, 3 passed, 2 errors in 0.03s"), Count { passed: 3, failed: 3 });
        assert_eq!(count("# tests 9\n# pass 8\n# fail 1\n"), Count { passed: 8, failed: 1 });
        assert_eq!(count("ℹ pass 8\nℹ fail 0\n"), Count { passed: 8, failed: 0 });
        assert_eq!(count("3 passed the door\n"), Count::default());
    }
}
