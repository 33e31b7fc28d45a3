/** Hands the answers that are being written, and the session they come on, to the next page of this tab: after a reload. */

import { ofTab } from "./storage.js";

const NAME = "streamlane-session";

/**
 * @typedef {import("./tree.js").Data} Data
 * @typedef {{data: Data, node: string, key: string, elapsed: number}} Open  an answer: `key` is its name in the session,
 *   `elapsed` the ms since it was asked for
 * @typedef {{session: any, left: number, open: Open[]}} Left  `left` in Unix ms
 */

export const handover = {
  /** Leave what the next page needs, or nothing. @param {any} client @param {Open[]} open */
  leave(client, open) {
    if (open.length === 0) return this.forget();
    /** @type {Left} */
    const left = { session: client.session, left: Date.now(), open };
    ofTab.set(NAME, JSON.stringify(left));
  },

  /**
   * Leave it when this page goes, or is hidden and may go without another word; take it back when it is seen again.
   * @param {() => void} leave
   */
  watch(leave) {
    const look = () => (document.hidden ? leave() : this.forget());
    addEventListener("pagehide", leave);
    document.addEventListener("visibilitychange", look);
    look();
  },

  /** What the page before this one left. @returns {Left | null} */
  left() {
    const text = ofTab.get(NAME);
    return text === null ? null : JSON.parse(text);
  },

  /** A copy of this tab must not go on with it too. */
  forget() { ofTab.remove(NAME); },
};
