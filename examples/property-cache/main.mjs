// Runs the property platform's load over its database, with Keystead and without, and prints what came of it.
// With --keep FOLDER the cache stays there for the next start. With --serve it goes on listening on port 8600 afterwards, without it starts the
// service again with and without what it kept (restart.mjs).

import { parseArgs } from "node:util";
import { CacheService } from "./cache-service.mjs";
import { openDatabase } from "./database.mjs";
import { propertyOf, random, zipf } from "./load.mjs";
import { startMonitor } from "./monitor.mjs";
import { restarts } from "./restart.mjs";

const REQUESTS = { property: 40_000, tenant: 10_000, invoiceTemplate: 10_000 };
/** Fewer without the cache: they take their time. */
const WITHOUT = 1500;
const USERS = 500;

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

const { values: options } = parseArgs({ options: { keep: { type: "string" }, serve: { type: "boolean", default: false } } });
const database = await openDatabase();
const service = new CacheService({ path: options.keep });
if (options.keep !== undefined) console.log(`${service.size} entries found in ${options.keep}`);
const server = await startMonitor(service, options.serve ? undefined : 0);
const monitor = `http://127.0.0.1:${server.address().port}`;
console.log(`${database.count()} properties of ${database.tenants().length} tenants; monitor on ${monitor}`);
console.log("settings:", service.tune());

const tenants = database.tenants();
const scenarios = {
  property: { pick: propertyOf, count: database.count(), query: (id) => database.property(id) },
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
if (!options.serve) {
  server.close();
  console.log(`RESTART ${JSON.stringify(await restarts())}`);
}
