// Types of `keystead/ioredis` for ESM.
// They are those of ioredis.d.cts.

export { Connector, type KeysteadRedisOptions, Redis, Redis as default, ReplyError } from "./ioredis.cjs";
