// Types of `keystead/ioredis`: ioredis's own, with the embedded engine's options besides.
// ESM sees them through ioredis.d.mts.

import { Redis as IORedis, type RedisOptions } from "ioredis";

export interface KeysteadRedisOptions extends Omit<RedisOptions, "sentinels"> {
  /** Clients of one name, and caches of that name, share an engine; by default those of one host and port, or path, do. */
  name?: string;
  /**
   * The folder that the data is kept in, as the option `path` of `Cache` says; caches of that path share the engine, which is closed with the last of them all.
   * Not `path`, which is ioredis's for the address of a socket. Excludes `name`.
   */
  dataPath?: string | URL;
  /** Memory for data, in bytes or as in valkey.conf ("100mb"). Counts for whoever opens the engine first. */
  maxmemory?: number | string;
  /** The text of a valkey.conf, or names and values. Counts for whoever opens the engine first. */
  config?: string | Record<string, string | number>;
}

/** ioredis's client on the embedded engine: no socket, the same methods. */
export class Redis extends IORedis {
  constructor(port: number, host: string, options: KeysteadRedisOptions);
  constructor(path: string, options: KeysteadRedisOptions);
  constructor(port: number, options: KeysteadRedisOptions);
  constructor(port: number, host: string);
  constructor(options: KeysteadRedisOptions);
  constructor(port: number);
  constructor(path: string);
  constructor();
  duplicate(override?: Partial<KeysteadRedisOptions>): Redis;
}

/** An error reply. */
export class ReplyError extends Error {
  code?: `KS_ERR_${string}`;
  command?: { name: string; args: unknown[] };
}

export default Redis;
