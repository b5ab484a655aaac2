// Values between JavaScript and what is stored; the format is that of core/src/cache/codec.rs, the same in every language.
// Strings, numbers and bytes are read and written natively; here is what goes through a codec.
"use strict";

const { types } = require("node:util");
const native = require("./native.cjs");
const { readJson, writeJson } = require("./json.cjs");
const { pendingBuffer } = require("./slab.cjs");
const { known, usage } = require("./usage.cjs");

const TAG = { INTEGER: 0xf8, BYTES: 0xfa, JSON: 0xfc, MESSAGE_PACK: 0xfd, PRIVATE: 0xfe };

const json = { tag: TAG.JSON, encode: writeJson };

/** What the option `codec` stands for. */
function codecOf(option = "json") {
  if (option === "json") return json;
  const { name, encode, decode } = option ?? {};
  if (name !== "msgpack" || typeof encode !== "function" || typeof decode !== "function") {
    throw usage('codec must be "json" or { name: "msgpack", encode, decode }');
  }
  known(option, ["name", "encode", "decode"]);
  const checked = (value) => {
    const bytes = encode(value);
    if (!types.isUint8Array(bytes)) throw usage("the codec's encode must return a Uint8Array");
    return bytes;
  };
  return { tag: TAG.MESSAGE_PACK, encode: checked, decode };
}

/** Reads the value for which `getValue` returned null. */
function pendingValue(codec) {
  const tag = native.pendingTag();
  if (tag === TAG.JSON) return readJson(native.pendingText());
  if (tag === TAG.INTEGER) return BigInt(native.pendingText());
  const bytes = pendingBuffer();
  if (tag === TAG.BYTES) return bytes;
  if (tag === codec.tag) return codec.decode(bytes);
  if (tag === TAG.MESSAGE_PACK) throw usage("the value is MessagePack: open the cache with that codec");
  throw usage("the value was written by another language's private codec");
}

/** The tag and the payload to give to `setValue`; tag 0 if the value's type is kept natively. */
function prepare(value, codec) {
  switch (typeof value) {
    case "string":
    case "number":
      return [0, value];
    case "bigint":
      return prepareBigInt(value);
    case "undefined":
      throw usage("undefined can't be stored");
    case "function":
    case "symbol":
      throw usage(`a ${typeof value} can't be stored`);
    default:
      return types.isUint8Array(value) ? [0, value] : [codec.tag, codec.encode(value)];
  }
}

function prepareBigInt(value) {
  // Bare, it would come back as a number.
  if (value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER) return [TAG.INTEGER, String(value)];
  // Bare digits would be taken for text: the tag byte is left out by writing them as they are.
  return BigInt.asIntN(64, value) === value ? [RAW, String(value)] : [TAG.JSON, String(value)];
}

/** A tag that `setValue` does not write. */
const RAW = 0x100;

module.exports = { RAW, TAG, codecOf, pendingValue, prepare };
