// Types of `keystead/connect-redis`.
// ESM sees them through connect-redis.d.mts.

import type { Cache } from "./index.js";

/** The part of node-redis's client that connect-redis uses. */
export interface SessionClient {
  get(key: string): Promise<string | null>;
  set(key: string, value: string, options?: { expiration?: { type: "EX" | "PX" | "EXAT" | "PXAT"; value: number } }): Promise<string | null>;
  expire(key: string, seconds: number): Promise<number>;
  del(keys: string | string[]): Promise<number>;
  mGet(keys: string[]): Promise<(string | null)[]>;
  scanIterator(options?: { MATCH?: string; COUNT?: number }): AsyncIterable<string[]>;
}

/**
 * What `RedisStore` of connect-redis takes as its `client`: `new RedisStore({ client: sessionClient(cache) })`. Sessions stand in the cache's engine, under keys
 * without the cache's prefix. A cache with `maxmemory` may evict some; `config: { "maxmemory-policy": "noeviction" }` has it refuse new ones instead.
 *
 * @param cache Where the sessions are; closing it ends the client.
 * @throws {TypeError} `KS_ERR_USAGE`: it is no Cache.
 */
export function sessionClient(cache: Cache): SessionClient;
