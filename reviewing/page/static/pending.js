// Decisions on their way to the server. Each is in the browser's own memory before it is sent, and leaves it when the
// server says that the log has it: neither a closed tab nor a server that is gone loses one. Each has a key of its own,
// so that two tabs do not take each other's away.

import { ask, Refused } from "./common.js";

const REFUSED_FOR_GOOD = [404, 409, 422];
const DIGITS = 15; // of milliseconds, so that keys sort by time

export class Pending {
  constructor(log) {
    this.prefix = `deixis-pending-${log}-`;
  }

  // Keys, oldest first.
  get keys() {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(this.prefix))
      .sort();
  }

  add(decision) {
    const when = String(Date.now()).padStart(DIGITS, "0");
    localStorage.setItem(`${this.prefix}${when}-${Math.random()}`, JSON.stringify(decision));
  }

  dropLast() {
    localStorage.removeItem(this.keys.at(-1));
  }

  // Sends all, oldest first; the answer to the last. What the server refuses for good is not kept: sending it again would
  // not help, and whoever decided is told.
  async send(query) {
    let last = null;
    let refused = null;
    for (const key of this.keys) {
      const decision = localStorage.getItem(key);
      if (decision === null) continue; // another tab has sent it
      try {
        last = await ask("POST", `/api/decisions?${query}`, JSON.parse(decision));
      } catch (error) {
        if (!(error instanceof Refused) || !REFUSED_FOR_GOOD.includes(error.status)) throw error;
        refused = error;
      }
      localStorage.removeItem(key);
    }
    if (refused) throw refused;
    return last;
  }
}
