// The ESM entry of keystead/connect-redis.
// The CommonJS entry is connect-redis.cjs; both give the same function.

import sessions from "./connect-redis.cjs";

export const { sessionClient } = sessions;
