//! Prints rows as a table with aligned columns.
//!
//! What stands in the cells is the callers' business.

/// A table as text; columns are as wide as their widest cell, those named in `right` are right-aligned.
pub fn table(head: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let all = || std::iter::once(head.iter().map(ToString::to_string).collect()).chain(rows.iter().cloned());
    let width =
        |column: usize| all().filter_map(|row: Vec<String>| row.get(column).map(|c| c.chars().count())).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (index, row) in all().enumerate() {
        let cells = widths.iter().enumerate().map(|(column, width)| {
            let cell = row.get(column).map_or("", String::as_str);
            if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
        if index == 0 {
            text += &widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("  ");
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn aligns_columns() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["long".to_owned(), "5".to_owned()]];
        assert_eq!(super::table(&["x", "n"], &rows, &[1]), "x      n\n----  --\na     10\nlong   5\n");
    }
}
