// The ESM entry of keystead/connector.
// The CommonJS entry is connector.cjs; both give the same class.

import connector from "./connector.cjs";

export const { Connector } = connector;
