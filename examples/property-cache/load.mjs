// Which properties, tenants and templates are asked for, and how often: the load that main.mjs and restart.mjs share.
// Nothing here measures.

/** Numbers from 0 to 1, the same in each run. */
export function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Ranks of `count` things, asked for after Zipf's law with exponent 1, as listings are. */
export function zipf(count, next) {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let rank = 0; rank < count; rank += 1) sums[rank] = sum += 1 / (rank + 1);
  return () => {
    const wanted = next() * sum;
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

/** How many properties there are. */
export const PROPERTIES = 171_075;

/** The number of the property of a rank: steps that have no divisor in common with the count spread the popular ones over the table. */
export const propertyOf = (rank) => ((rank * 7919) % PROPERTIES) + 1;
