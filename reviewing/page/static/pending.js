// Decisions on their way to the server. Each is in the browser's own memory before it is sent, and leaves it when the
// server says that the log has it: neither a closed tab nor a server that is gone loses one. Each has a key of its own,
// so that two tabs do not take each other's away. It keeps who decided: only a server of the same person gets it.

import { ask, Refused } from "./common.js";

const REFUSED_FOR_GOOD = [404, 409, 422];
const DIGITS = 15; // of milliseconds, so that keys sort by time

export class Pending {
  constructor({ log, who }) {
    this.prefix = `deixis-pending-${log}-`;
    this.who = who;
  }

  // Keys of this person's, oldest first.
  get keys() {
    return this.#all()
      .filter(([, { who }]) => who === this.who)
      .map(([key]) => key);
  }

  // How many there are of others, by name, and when the last was decided.
  others() {
    const found = new Map();
    for (const [, { who, at }] of this.#all()) {
      if (who === this.who) continue;
      const last = new Date(at).toLocaleString();
      found.set(who, { count: (found.get(who)?.count ?? 0) + 1, last });
    }
    return found;
  }

  add(decision) {
    const at = Date.now();
    const key = `${this.prefix}${String(at).padStart(DIGITS, "0")}-${Math.random()}`;
    localStorage.setItem(key, JSON.stringify({ who: this.who, at, decision }));
  }

  #all() {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(this.prefix))
      .sort()
      .map((key) => [key, JSON.parse(localStorage.getItem(key))])
      .filter(([, kept]) => kept !== null); // another tab has sent it meanwhile
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
      const kept = localStorage.getItem(key);
      if (kept === null) continue; // another tab has sent it
      try {
        last = await ask("POST", `/api/decisions?${query}`, JSON.parse(kept).decision);
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
