// Replies that come later: a command that waits, and the commands that stand in line behind it, as they would on a connection.
// Who is served, and when, the engine decides; what becomes of the reply is the client's affair.
"use strict";

const native = require("./native.cjs");
const { BLOCKED, unpack } = require("./packed.cjs");
const { wakes } = require("./wakes.cjs");

/** The longest time that a timer of this runtime takes. */
const LONGEST = 2 ** 31 - 1;

function take(handle, style) {
  try {
    const reply = native.takeReply(handle, style);
    return reply === undefined ? unpack() : reply;
  } catch (error) {
    return error;
  }
}

/**
 * Waits for the reply of the command that a session was last given, and calls `done` with it, later. Returns what ends the wait before.
 * Only a wait that ends by itself keeps the process alive.
 */
function awaitReply(handle, style, done) {
  const wait = native.wakeOnReply(handle);
  let timer;
  let isOver = false;
  const end = () => {
    isOver = true;
    clearTimeout(timer);
    wakes.delete(wait);
  };
  const look = () => {
    if (isOver) return;
    clearTimeout(timer);
    const reply = take(handle, style);
    if (reply === BLOCKED) {
      const left = native.replyLeft(handle);
      if (left >= 0) timer = setTimeout(look, Math.min(Math.ceil(left), LONGEST));
      return;
    }
    end();
    done(reply);
  };
  wakes.set(wait, look);
  // It may have come before anybody could be woken.
  process.nextTick(look);
  return end;
}

module.exports = { awaitReply };
