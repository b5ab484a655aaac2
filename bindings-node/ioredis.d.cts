// Types of `keystead/ioredis`: ioredis's own, with the embedded engine's options besides.
// ESM sees them through ioredis.d.mts.

import { Redis as IORedis, type RedisOptions } from "ioredis";
import type { EngineOptions } from "./connector.cjs";

export { Connector } from "./connector.cjs";

export interface KeysteadRedisOptions extends Omit<RedisOptions, "sentinels">, EngineOptions {}

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
