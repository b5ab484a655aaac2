//! A log-linear histogram of nanoseconds, in the buckets of the server's HdrHistogram (1 ns to 1 s, two significant digits).
//!
//! Who records where (one histogram per command, perhaps per thread, merged for reading) is left to the owners.
//!
//! Values below 256 have a bucket each; above, every doubling of the value is cut into 128 buckets. A bucket is therefore at most
//! 1/128 of its value wide. The vector of counts grows to the greatest value recorded: 2 KB below 256 ns, 1 KB more for each doubling, 24 KB at 1 s.

/// Greatest value kept apart; longer durations count as this one.
const MAX_VALUE: u64 = 1_000_000_000;

/// Values below this have buckets of width one.
const LINEAR: u64 = 256;

/// Buckets of each doubling above.
const HALF: u64 = LINEAR / 2;

/// First value beyond the last bucket: the doubling that holds [`MAX_VALUE`] ends here.
const END: u64 = 1 << 30;

/// A histogram of durations in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

/// Bucket of a value: the linear part, then 128 for each doubling.
fn index_of(value: u64) -> usize {
    let doubling = doubling_of(value);
    (u64::from(doubling) * HALF + (value >> doubling)) as usize
}

/// How often the buckets' width has doubled at `value`.
fn doubling_of(value: u64) -> u32 {
    (value | (LINEAR - 1)).ilog2() + 1 - LINEAR.ilog2()
}

/// Greatest value of the bucket that holds `value`.
fn highest_equivalent(value: u64) -> u64 {
    value | ((1 << doubling_of(value)) - 1)
}

/// Greatest value of the bucket at `index`.
fn highest_at(index: usize) -> u64 {
    let index = index as u64;
    let doubling = (index / HALF).saturating_sub(1);
    let lowest = (index - doubling * HALF) << doubling;
    highest_equivalent(lowest)
}

impl Histogram {
    /// Counts a duration so many times. Zero counts as one nanosecond. O(1).
    pub(crate) fn record(&mut self, nanoseconds: u64, times: u64) {
        if times == 0 {
            return;
        }
        let index = index_of(nanoseconds.clamp(1, MAX_VALUE));
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += times;
        self.total += times;
    }

    /// Adds all of `other`'s counts.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, added) in self.counts.iter_mut().zip(&other.counts) {
            *count += added;
        }
        self.total += other.total;
    }

    /// How many durations were counted.
    pub(crate) fn count(&self) -> u64 {
        self.total
    }

    /// The duration in nanoseconds that `percentile` percent of the counted ones do not exceed, as the greatest value of its
    /// bucket; 0 if there are none. O(buckets).
    pub(crate) fn value_at_percentile(&self, percentile: f64) -> u64 {
        let wanted = (percentile.min(100.0) / 100.0 * self.total as f64 + 0.5) as u64;
        let wanted = wanted.max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        bucket.map_or(0, highest_at)
    }

    /// LATENCY HISTOGRAM's buckets: pairs of an upper bound in microseconds and how many durations are within it, at about every
    /// doubling, without those that add nothing. O(buckets).
    pub(crate) fn cumulative_microseconds(&self) -> Vec<(u64, u64)> {
        let mut buckets: Vec<(u64, u64)> = Vec::new();
        let (mut seen, mut next) = (0, 0);
        let mut level = 1024;
        while seen < self.total {
            // A level counts the whole bucket that begins with it, hence bounds like 33 and 66.
            let last = highest_equivalent(level.min(END - 1));
            let end = self.counts.len().min(index_of(last) + 1);
            let before = seen;
            seen += self.counts[next..end].iter().sum::<u64>();
            next = end;
            if seen > before {
                buckets.push((last / 1000, seen));
            }
            level *= 2;
        }
        buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value, 1));
        histogram
    }

    #[test]
    fn percentiles_are_the_servers() {
        // Values a server recorded in whole microseconds, with the p50 it printed.
        for (nanoseconds, printed) in [
            (0, 1),
            (1_000, 1_003),
            (2_000, 2_007),
            (5_000, 5_023),
            (9_000, 9_023),
            (14_000, 14_015),
            (16_000, 16_063),
            (22_000, 22_015),
            (300_100_000, 301_989_887),
            (1_200_000_000, 1_002_438_655),
        ] {
            assert_eq!(histogram(&[nanoseconds]).value_at_percentile(50.0), printed);
        }
        assert_eq!(Histogram::default().value_at_percentile(50.0), 0);
    }

    #[test]
    fn cumulative_buckets_are_the_servers() {
        // DEBUG SLEEP of these lengths on a server.
        let sleeps = [200_000, 1_200_000, 30_100_000, 300_100_000, 600_100_000, 700_100_000, 1_200_000_000];
        assert_eq!(
            histogram(&sleeps).cumulative_microseconds(),
            [(264, 1), (2113, 2), (33816, 3), (541065, 4), (1073741, 7)]
        );
        let doublings: Vec<u64> = (0..7).map(|shift| 1_000 << shift).collect();
        assert_eq!(
            histogram(&doublings).cumulative_microseconds(),
            [(1, 1), (2, 2), (4, 3), (8, 4), (16, 5), (33, 6), (66, 7)]
        );
        assert_eq!(Histogram::default().cumulative_microseconds(), []);
    }

    proptest! {
        #[test]
        fn buckets_are_narrow_and_in_order(value in 1..MAX_VALUE) {
            let highest = highest_at(index_of(value));
            prop_assert_eq!(highest, highest_equivalent(value));
            prop_assert!(highest >= value && highest - value <= value / 128);
            prop_assert_eq!(index_of(highest + 1), index_of(value) + 1);
        }

        #[test]
        fn percentiles_are_close_to_the_sorted_values(mut values in prop::collection::vec(1..MAX_VALUE, 1..200), percentile in 0.0..100.0f64) {
            let found = histogram(&values).value_at_percentile(percentile);
            values.sort_unstable();
            let rank = ((percentile / 100.0 * values.len() as f64 + 0.5) as usize).max(1);
            prop_assert_eq!(found, highest_equivalent(values[rank - 1]));
        }

        #[test]
        fn merging_is_recording_both(a: Vec<u64>, b: Vec<u64>) {
            let mut merged = histogram(&a);
            merged.merge(&histogram(&b));
            prop_assert_eq!(&merged, &histogram(&[a, b].concat()));
            let last = merged.cumulative_microseconds().last().map_or(0, |(_, count)| *count);
            prop_assert_eq!(last, merged.count());
        }
    }
}
