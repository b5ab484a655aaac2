// JSON that changes no value: what would come back as another is refused, or written so that it does not.
// Which values come here at all is decided in values.cjs.
"use strict";

const { usage } = require("./usage.cjs");

/** Objects and arrays within each other, the outermost included. A value that contains itself has more. */
const MOST_LEVELS = 1000;

/** Whether the value that is being checked has a number that `JSON.stringify` would change. */
let isDelicate = false;

/** A value's class, for error texts. */
function className(value) {
  const { constructor } = Object.getPrototypeOf(value) ?? {};
  const name = typeof constructor === "function" ? constructor.name : "";
  return name === "" ? Object.prototype.toString.call(value).slice(8, -1) : name;
}

const article = (noun) => (/^[aeiou]/i.test(noun) ? `an ${noun}` : `a ${noun}`);

function refuse(what, key, hint = "") {
  const where = key === undefined ? "" : ` (at ${JSON.stringify(key)})`;
  throw usage(`${what} can't be stored as JSON${where}${hint}`);
}

/** Whether an object is plain, of whatever realm. */
function isPlain(value) {
  const proto = Object.getPrototypeOf(value);
  if (proto === Object.prototype || proto === null) return true;
  return Object.getPrototypeOf(proto) === null && Object.hasOwn(proto, "hasOwnProperty");
}

/** Whether an array is one of `Array` itself, of whatever realm. */
function isPlainArray(value) {
  const proto = Object.getPrototypeOf(value);
  return proto === Array.prototype || Array.isArray(proto);
}

/** Throws unless the value comes back from JSON as it is. `key` is where it stands, `level` how deep. */
function check(value, level, key) {
  switch (typeof value) {
    case "string":
    case "boolean":
      return;
    case "number":
      if (!Number.isFinite(value)) refuse(`${value} within an object or array`, key);
      if (Math.abs(value) > Number.MAX_SAFE_INTEGER || Object.is(value, -0)) isDelicate = true;
      return;
    case "object":
      if (value !== null) checkObject(value, level, key);
      return;
    case "undefined":
      return refuse("undefined within an object or array", key, ": leave the property out, or use null");
    case "bigint":
      return refuse("a BigInt within an object or array", key, ": it would come back as a number");
    default:
      refuse(article(typeof value), key);
  }
}

function checkObject(value, level, key) {
  const isArray = Array.isArray(value);
  if (!(isArray ? isPlainArray(value) : isPlain(value))) {
    refuse(article(className(value)), key, ": convert it, or open the cache with another codec");
  }
  if (level > MOST_LEVELS) {
    throw usage(`a value that contains itself, or is nested deeper than ${MOST_LEVELS} levels, can't be stored as JSON`);
  }
  if (Object.getOwnPropertySymbols(value).length > 0) refuse("an object with symbols as keys", key);
  const names = Object.keys(value);
  if (isArray) {
    for (let at = 0; at < value.length; at += 1) {
      if (value[at] === undefined) refuse("undefined, or a hole, within an array", String(at), ": use null");
      check(value[at], level + 1, key);
    }
    if (names.length > value.length) refuse("an array with further properties", key);
    return;
  }
  for (const name of names) check(value[name], level + 1, name);
}

/** A number that reads back as one, and as itself. */
function writeNumber(value) {
  if (Object.is(value, -0)) return "-0";
  const text = String(value);
  // An integer that long would be read as a BigInt.
  return Math.abs(value) > Number.MAX_SAFE_INTEGER && /^-?\d+$/.test(text) ? `${text}e0` : text;
}

function writeDelicate(value) {
  if (typeof value === "number") return writeNumber(value);
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(writeDelicate).join(",")}]`;
  return `{${Object.keys(value).map((name) => `${JSON.stringify(name)}:${writeDelicate(value[name])}`).join(",")}}`;
}

/** The JSON of a value, which reads back as the same. */
function writeJson(value) {
  isDelicate = false;
  check(value, 1, undefined);
  return isDelicate ? writeDelicate(value) : JSON.stringify(value);
}

/** As many digits are needed for an integer that a number can't hold. */
const LONG = /\d{16}/;
const QUOTE = 34;
const BACKSLASH = 92;

const isDigit = (unit) => unit >= 48 && unit <= 57;
/** Whether a UTF-16 unit is one of a number's, behind its first. */
const goesOn = (unit) => isDigit(unit) || unit === 43 || unit === 45 || unit === 46 || unit === 69 || unit === 101;

function endOfString(text, from) {
  let at = from + 1;
  while (at < text.length && text.charCodeAt(at) !== QUOTE) at += text.charCodeAt(at) === BACKSLASH ? 2 : 1;
  return at + 1;
}

/** The text with integers that numbers can't hold as strings that begin with a mark. */
function markLong(text, mark) {
  const parts = [];
  let [from, at] = [0, 0];
  while (at < text.length) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) {
      at = endOfString(text, at);
    } else if (isDigit(unit) || unit === 45) {
      const start = at;
      do at += 1;
      while (at < text.length && goesOn(text.charCodeAt(at)));
      const number = text.slice(start, at);
      if (/^-?\d{16,}$/.test(number) && !Number.isSafeInteger(Number(number))) {
        parts.push(text.slice(from, start), `"${mark}${number}"`);
        from = at;
      }
    } else {
      at += 1;
    }
  }
  return parts.length === 0 ? undefined : parts.join("") + text.slice(from);
}

/** A string that no stored text knows. */
let mark;

/** Reads JSON; integers that numbers can't hold, which other languages write, come as BigInts. */
function readJson(text) {
  if (!LONG.test(text)) return JSON.parse(text);
  mark ??= `${require("node:crypto").randomUUID()}:`;
  const marked = markLong(text, mark);
  if (marked === undefined) return JSON.parse(text);
  return JSON.parse(marked, (_, value) => (
    typeof value === "string" && value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value
  ));
}

module.exports = { readJson, writeJson };
