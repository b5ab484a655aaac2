// Loads the native half, once per isolate.
// What its functions take and return stands in src/hot.rs and src/lib.rs.
"use strict";

let native;
try {
  native = require("../keystead.node");
} catch (error) {
  const machine = `${process.platform}-${process.arch}`;
  throw new Error(`keystead: the native library does not load on ${machine} with Node ${process.version}: ${error.message}`, {
    cause: error,
  });
}
native.install(native);

/** A handle that ends with this isolate, if nobody closes it before. */
function owned(handle) {
  native.own(handle);
  return handle;
}

module.exports = {
  ...native,
  open: (...options) => owned(native.open(...options)),
  duplicate: (handle) => owned(native.duplicate(handle)),
  close(handle) {
    const closed = native.close(handle);
    native.forget(handle);
    return closed;
  },
};
