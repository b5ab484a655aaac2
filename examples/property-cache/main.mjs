// Runs the property platform's load over its database, with Keystead and without, and prints what came of it.
// With --serve it goes on listening on port 8600 afterwards.

import { CacheService } from "./cache-service.mjs";
import { openDatabase } from "./database.mjs";
import { startMonitor } from "./monitor.mjs";

const REQUESTS = { property: 40_000, tenant: 10_000, invoiceTemplate: 10_000 };
/** Fewer without the cache: they take their time. */
const WITHOUT = 1500;
const USERS = 500;

/** Numbers from 0 to 1, the same in each run. */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Ranks of `count` things, asked for after Zipf's law with exponent 1, as listings are. */
function zipf(count, next) {
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

/** Milliseconds that each of some calls took, sorted. */
async function timed(count, call) {
  const times = new Float64Array(count);
  for (let at = 0; at < count; at += 1) {
    const begin = performance.now();
    await call();
    times[at] = performance.now() - begin;
  }
  return times.sort();
}

const quantile = (sorted, share) => Number(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))].toFixed(4));

const database = await openDatabase();
const service = new CacheService();
const server = await startMonitor(service, process.argv.includes("--serve") ? undefined : 0);
const monitor = `http://127.0.0.1:${server.address().port}`;
console.log(`${database.count()} properties of ${database.tenants().length} tenants; monitor on ${monitor}`);
console.log("settings:", service.tune());

const tenants = database.tenants();
const scenarios = {
  // Steps that have no divisor in common with the count spread the popular ones over the table.
  property: { pick: (rank) => ((rank * 7919) % 171_075) + 1, count: database.count(), query: (id) => database.property(id) },
  tenant: { pick: (rank) => tenants[rank], count: tenants.length, query: (id) => database.tenant(id) },
  invoiceTemplate: { pick: (rank) => tenants[rank], count: tenants.length, query: (id) => database.invoiceTemplate(id) },
};
for (const [kind, { pick, count, query }] of Object.entries(scenarios)) {
  const [rankWith, rankWithout] = [zipf(count, random(1)), zipf(count, random(1))];
  const without = await timed(WITHOUT, () => query(pick(rankWithout())));
  const before = database.queries;
  let loads = 0;
  const load = (id) => {
    loads += 1;
    return query(id);
  };
  const times = await timed(REQUESTS[kind], () => service.load(kind, pick(rankWith()), load));
  console.log(`${kind}: ${loads} of ${REQUESTS[kind]} requests went to the database, in ${database.queries - before} queries`);
  const row = {
    scenario: kind,
    requests: REQUESTS[kind],
    hit_rate: Number((1 - loads / REQUESTS[kind]).toFixed(3)),
    p50_ms: quantile(times, 0.5),
    p99_ms: quantile(times, 0.99),
    p50_without_ms: quantile(without, 0.5),
    p99_without_ms: quantile(without, 0.99),
  };
  console.log(`DEMO ${JSON.stringify(row)}`);
}

for (let user = 0; user < USERS; user += 1) service.setSession(`s${user}`, { userId: user, role: "landlord" });
const next = random(2);
const sessions = await timed(20_000, () => service.getSession(`s${Math.floor(next() * USERS)}`));
console.log(`DEMO ${JSON.stringify({
  scenario: "sliding session",
  requests: sessions.length,
  hit_rate: 1,
  p50_ms: quantile(sessions, 0.5),
  p99_ms: quantile(sessions, 0.99),
})}`);

const sent = Array.from({ length: 12 }, () => service.checkWhatsAppRateLimit("+1234567890"));
console.log(`WhatsApp: ${sent.filter(Boolean).length} of ${sent.length} messages allowed`);
for (const path of ["/health", "/valkey/stats", "/whatsapp/rate-limits"]) {
  console.log(`GET ${path}`, await (await fetch(monitor + path)).json());
}
console.log("DELETE /cache/tenant", await (await fetch(`${monitor}/cache/tenant`, { method: "DELETE" })).json());
if (!process.argv.includes("--serve")) server.close();
