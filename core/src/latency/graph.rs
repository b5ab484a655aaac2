//! Drawing of a row of numbers as columns of characters, with a label written downwards under each.
//!
//! What the numbers are is the caller's business.
//!
//! A column is four characters high, and its top character has three heights of its own (`_`, `o`, `#`), so a number between the least
//! and the greatest has one of twelve heights. Eighty columns fit a line; the rest is drawn below.

const COLUMNS: usize = 80;
const ROWS: usize = 4;
const TOPS: [char; 3] = ['_', 'o', '#'];

/// The drawing of `points`, numbers with labels; lines end in newlines.
pub(super) fn draw(points: &[(u64, String)]) -> String {
    let low = points.iter().map(|(value, _)| *value).min().unwrap_or(0);
    let range = points.iter().map(|(value, _)| value - low).max().unwrap_or(0).max(1);
    let blocks: Vec<String> = points.chunks(COLUMNS).map(|block| draw_block(block, low, range)).collect();
    blocks.join("\n")
}

fn draw_block(points: &[(u64, String)], low: u64, range: u64) -> String {
    let steps = (ROWS * TOPS.len()) as u64;
    let heights: Vec<usize> =
        points.iter().map(|(value, _)| ((value - low) * steps / range).min(steps - 1) as usize).collect();
    let mut text = String::new();
    for row in (0..ROWS).rev() {
        text.extend(heights.iter().map(|height| match height.checked_sub(row * TOPS.len()) {
            None => ' ',
            Some(rest) => TOPS.get(rest).copied().unwrap_or('|'),
        }));
        text.push('\n');
    }
    text.extend(points.iter().map(|_| ' '));
    text.push('\n');
    let longest = points.iter().map(|(_, label)| label.len()).max().unwrap_or(0);
    for place in 0..longest {
        text.extend(
            points.iter().map(|(_, label)| label.as_bytes().get(place).map_or(' ', |byte| char::from(*byte))),
        );
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_follow_the_numbers() {
        let points: Vec<(u64, String)> =
            (0..13).map(|value| (value, "a".repeat(1 + value as usize % 2))).collect();
        assert_eq!(
            draw(&points),
            "         _o##\n      _o#||||\n   _o#|||||||\n_o#||||||||||\n             \naaaaaaaaaaaaa\n a a a a a a \n"
        );
        assert_eq!(draw(&[(5, "1s".to_owned())]), " \n \n \n_\n \n1\ns\n");
    }

    #[test]
    fn long_rows_go_on_below() {
        let points = vec![(1, String::new()); 81];
        assert_eq!(draw(&points).lines().count(), 2 * (ROWS + 1) + 1);
    }
}
