// Uses every declared type once; `tsc --noEmit` checks it, nothing runs it.
// Behaviour is tested in the .test.mjs files.

import { Redis as IORedis } from "ioredis";
import { Cache, type CacheStats, type KeysteadError, type Listener } from "keystead";
import { type SessionClient, sessionClient } from "keystead/connect-redis";
import { Connector, type EngineOptions } from "keystead/connector";
import Redis, { Connector as Same, ReplyError, Redis as Named } from "keystead/ioredis";

interface Property {
  id: string;
  rent: number;
}

const cache = new Cache({ name: "types", maxmemory: "64mb", prefix: "t:", codec: "json", config: { "hash-max-listpack-entries": 64 } });
const packed = new Cache({ codec: { name: "msgpack", encode: () => new Uint8Array(), decode: (bytes) => bytes.length } });

const stored = new Cache({ path: new URL("file:///var/lib/app.ks"), config: { appendfsync: "always" } });
const notes: string[] = stored.openingNotes;
const folder: string | undefined = stored.path;
const written: Promise<void> = stored.snapshot("backup.rdb");
const read: Promise<void> = stored.restore(new URL("file:///backup.rdb"));
const near = new Cache({ name: "types", near: { max: 100, objects: true } });
// @ts-expect-error A near cache is bounded.
new Cache({ near: {} });
const set: boolean = cache.set("k", { id: "1", rent: 2 } satisfies Property, { ttl: 60, nx: true });
const maybe: Property | undefined = cache.get<Property>("k");
const sure: number = cache.get("n", 0);
const deleted: number = cache.delete("a", Buffer.from("b"));
const many: Map<string, unknown> = cache.getMany(["a", "b"]);
cache.setMany({ a: 1 }, 60);
cache.setMany(new Map([["a", 1]]), { ttl: 60 });
const sum: number | bigint = cache.incr("n", 2);
const left: number | null | undefined = cache.ttl("n");
const loaded: Promise<Property> = cache.wrap("k", 60, async () => ({ id: "1", rent: 2 }));
const stats: CacheStats = cache.stats();
const bytes: Buffer | undefined = packed.getBuffer("k");
const strings: (string | undefined)[] = cache.mget(["a"]);
for (const key of cache.keys()) void key.length;

// @ts-expect-error A key is no number.
cache.get(1);
// @ts-expect-error There is no such option.
new Cache({ nmae: "x" });

const kept: Redis = new Redis({ dataPath: "app.ks" });
const redis: Redis = new Redis({ name: "types", keyPrefix: "t:", db: 1 });
const text: Promise<string | null> = redis.get("k");
const raw: Promise<Buffer | null> = redis.getBuffer("k");
const hash: Promise<Record<string, string>> = redis.hgetall("h");
const results: Promise<[Error | null, unknown][] | null> = redis.multi().set("a", 1).get("a").exec();
const other: Named = redis.duplicate({ db: 2 });
const sessions: SessionClient = sessionClient(cache);
const place: EngineOptions = { name: "types", maxmemory: "64mb" };
const stock = new IORedis({ Connector, ...place });
const same: typeof Connector = Same;
const listener: Promise<Listener> = cache.listen("127.0.0.1:0");
const ended: Promise<void> = listener.then((open) => open.unref().ref().close());
const where: Promise<string[]> = listener.then(({ addresses }) => addresses);
const code: KeysteadError["code"] | undefined = new ReplyError("ERR").code;

export { bytes, code, deleted, ended, hash, left, loaded, many, maybe, other, raw, results, same, sessions, set, stats, stock, strings, sum, sure, text, where };
