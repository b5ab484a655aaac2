// The package's ESM entry.
// The CommonJS entry is index.cjs; both give the same classes.

import keystead from "./index.cjs";

export const { Cache } = keystead;
