// Decisions on their way to the server. Each is in the browser's own memory before it is sent, and leaves it when the
// server says that the log has it: neither a closed tab nor a server that is gone loses one.

import { ask, Refused } from "./common.js";

const REFUSED_FOR_GOOD = [404, 409, 422];

export class Pending {
  constructor(log) {
    this.key = `deixis-pending-${log}`;
  }

  get all() {
    try {
      return JSON.parse(localStorage.getItem(this.key)) ?? [];
    } catch {
      return [];
    }
  }

  add(decision) {
    this.#keep([...this.all, decision]);
  }

  dropLast() {
    this.#keep(this.all.slice(0, -1));
  }

  // Sends all, oldest first; the answer to the last. What the server refuses for good is not kept: sending it again would
  // not help, and whoever decided is told.
  async send(query) {
    let last = null;
    let refused = null;
    for (let waiting = this.all; waiting.length; waiting = this.all) {
      try {
        last = await ask("POST", `/api/decisions?${query}`, waiting[0]);
      } catch (error) {
        if (!(error instanceof Refused) || !REFUSED_FOR_GOOD.includes(error.status)) throw error;
        refused = error;
      }
      this.#keep(this.all.slice(1));
    }
    if (refused) throw refused;
    return last;
  }

  #keep(decisions) {
    if (decisions.length) localStorage.setItem(this.key, JSON.stringify(decisions));
    else localStorage.removeItem(this.key);
  }
}
