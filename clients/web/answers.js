/** The answers that are being written now, one per conversation: starts them, stops them, keeps what has come. */

import { fail, take } from "./progress.js";

const SAVE_EVERY = 2000; // ms; so much of an answer may be lost when the browser dies in the middle of it
const AWAY = new Set(["resume_gap", "session_taken"]); // why an answer cannot go on after a while without connection

/**
 * @typedef {import("./tree.js").Conversation} Conversation
 * @typedef {import("./tree.js").Message} Message
 * @typedef {{conversation: Conversation, node: Message, answer: any, began: number, stopped: boolean, dropped: boolean}} Entry
 * @typedef {object} Watcher  who is told
 * @property {(conversation: Conversation, node: Message) => void} grew
 * @property {(conversation: Conversation, node: Message, event: any) => void} route
 * @property {(event: any) => void} quota
 * @property {(conversation: Conversation, node: Message) => void} ended
 * @property {(conversation: Conversation) => unknown} save
 */

export class Answers {
  /** @param {Watcher} watcher @param {() => number} now ms of a clock that never jumps */
  constructor(watcher, now) {
    this.watcher = watcher;
    this.now = now;
    /** @type {Map<string, Entry>} */
    this.running = new Map();
  }

  /** @param {string} id of a conversation */
  get(id) { return this.running.get(id); }

  /** @param {any} client @param {Conversation} conversation @param {Message} node @param {object} request */
  async start(client, conversation, node, request) {
    await this.#write(conversation, node, () => client.create(request), this.now());
  }

  /** Go on with one that a page before this one began. @param {Conversation} conversation @param {Message} node @param {any} answer @param {number} elapsed ms */
  async resume(conversation, node, answer, elapsed) {
    await this.#write(conversation, node, () => answer, this.now() - elapsed);
  }

  /** What another page needs to go on. @returns {import("./handover.js").Open[]} */
  open() {
    const entries = [...this.running.values()].filter(({ answer, stopped }) => answer && !stopped);
    return entries.map(({ conversation, node, answer, began }) => (
      { data: conversation.data, node: node.id, key: answer.key, elapsed: this.now() - began }));
  }

  /** @param {Conversation} conversation @param {Message} node @param {() => any} ask @param {number} began */
  async #write(conversation, node, ask, began) {
    const { watcher, now } = this;
    let saved = -Infinity; // so the first piece is stored at once
    /** @type {Entry} */
    const entry = { conversation, node, answer: null, began, stopped: false, dropped: false };
    this.running.set(conversation.id, entry);
    try {
      entry.answer = ask();
      for await (const event of entry.answer) {
        if (entry.dropped) return;
        const what = take(node, event, now() - began);
        if (what === "route") watcher.route(conversation, node, event);
        else if (what === "quota") watcher.quota(event);
        else if (what) watcher.grew(conversation, node);
        if (what && what !== "route" && what !== "quota" && now() - saved > SAVE_EVERY) {
          saved = now();
          watcher.save(conversation);
        }
      }
      if (node.status === "running") throw Object.assign(new Error("The answer has no end."), { code: "connection_lost" });
    } catch (error) {
      if (entry.stopped) node.status = "stopped";
      else if (AWAY.has(/** @type {any} */ (error).code)) node.status = "interrupted";
      else fail(node, error, now() - began);
    }
    if (node.status === "stopped" && !entry.stopped) node.status = "interrupted"; // the gateway did: nobody was there
    if (entry.dropped) return;
    this.running.delete(conversation.id);
    watcher.ended(conversation, node);
    watcher.save(conversation);
  }

  /** Stop the answer. What has come stays; the end comes as for every answer. @param {string} id of a conversation */
  stop(id) {
    const entry = this.running.get(id);
    if (!entry || entry.stopped) return;
    entry.stopped = true;
    entry.answer?.cancel();
  }

  /** Stop the answer of a conversation that is being deleted: nothing more is said of it, and nothing saved. @param {string} id */
  drop(id) {
    const entry = this.running.get(id);
    if (!entry) return;
    this.stop(id);
    entry.dropped = true;
    entry.node.status = "stopped";
    this.running.delete(id);
  }
}
