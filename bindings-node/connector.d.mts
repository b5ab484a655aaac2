// Types of `keystead/connector` for ESM.
// They are those of connector.d.cts.

export { Connector, type EngineOptions } from "./connector.cjs";
