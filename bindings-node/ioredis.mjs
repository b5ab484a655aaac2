// The ESM entry of keystead/ioredis.
// The CommonJS entry is ioredis.cjs; both give the same class.

import face from "./ioredis.cjs";

export const { Redis, ReplyError } = face;
export default Redis;
