// The service's second start: how long until the first answer comes out of the cache, with what the first start kept, and without.
// Each start is a process of its own, `node restart.mjs REQUESTS SEED [FOLDER]`: it answers, tells of its first hit and of its last answer, and stays
// until it is killed or its standard input ends.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { CacheService } from "./cache-service.mjs";
import { openDatabase } from "./database.mjs";
import { PROPERTIES, propertyOf, random, zipf } from "./load.mjs";

const FILE = fileURLToPath(import.meta.url);
/** Requests to the first start, at most as many to a later one, and later starts of each sort. */
const [FIRST, LATER, STARTS] = [20_000, 500, 3];

/** Answers requests for properties; the database is opened when it is needed. */
async function serve(requests, seed, folder) {
  const service = new CacheService({ path: folder });
  const found = service.size;
  const rank = zipf(PROPERTIES, random(seed));
  let database;
  let loads = 0;
  const load = async (id) => {
    loads += 1;
    database ??= await openDatabase();
    return database.property(id);
  };
  let hit = false;
  for (let request = 1; request <= requests; request += 1) {
    await service.load("property", propertyOf(rank()), load);
    if (!hit && loads < request) {
      hit = true;
      process.stdout.write(`HIT ${JSON.stringify({ keys: found, request })}\n`);
    }
  }
  process.stdout.write(`ANSWERED ${JSON.stringify({ keys: service.size })}\n`);
  process.stdin.resume();
}

/** Starts the service, waits until it tells of something, and kills it, which nothing can prepare for; what it told, and after how many milliseconds. */
async function killedAfter(what, ...words) {
  const begun = performance.now();
  const child = spawn(process.execPath, [FILE, ...words.map(String)], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "exit");
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith(`${what} `)) continue;
    const ms = performance.now() - begun;
    child.kill("SIGKILL");
    await ended;
    return { ...JSON.parse(line.slice(what.length)), ms };
  }
  throw new Error(`the service ended without ${what}`);
}

const median = (numbers) => Number(numbers.toSorted((a, b) => a - b)[numbers.length >> 1].toFixed(1));

/** The first start fills a folder and is killed; the later ones have the folder or don't. Medians of what they took to the first hit. */
export async function restarts() {
  const scratch = mkdtempSync(join(tmpdir(), "property-cache-"));
  try {
    const folder = join(scratch, "property-cache.ks");
    const { keys } = await killedAfter("ANSWERED", FIRST, 3, folder);
    const [kept, without] = [[], []];
    for (let start = 0; start < STARTS; start += 1) {
      kept.push(await killedAfter("HIT", LATER, 4, folder));
      without.push(await killedAfter("HIT", LATER, 4));
    }
    if (kept.some((start) => start.keys < keys)) throw new Error(`${keys} keys were kept, ${kept.map((start) => start.keys)} were found`);
    return {
      ended: "SIGKILL",
      keys,
      keys_found: kept[0].keys,
      first_hit_ms: median(kept.map((start) => start.ms)),
      first_hit_without_ms: median(without.map((start) => start.ms)),
    };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

if (process.argv[1] === FILE) {
  const [requests, seed, folder] = process.argv.slice(2);
  await serve(Number(requests), Number(seed), folder);
}
