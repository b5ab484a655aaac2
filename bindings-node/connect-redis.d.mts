// Types of `keystead/connect-redis` for ESM.
// They are those of connect-redis.d.cts.

export { type SessionClient, sessionClient } from "./connect-redis.cjs";
