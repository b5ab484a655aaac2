// The ESM entry of keystead/ioredis.
// The CommonJS entry is ioredis.cjs; both give the same classes.

import face from "./ioredis.cjs";

export const { Connector, Redis, ReplyError } = face;
export default Redis;
