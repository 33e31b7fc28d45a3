/** The answers that are being written now, one per conversation: starts them, stops them, keeps what has come. */

import { fail, take } from "./progress.js";

const SAVE_EVERY = 2000; // ms; so much of an answer may be lost when the page is closed in the middle of it

/**
 * @typedef {import("./tree.js").Conversation} Conversation
 * @typedef {import("./tree.js").Message} Message
 * @typedef {object} Watcher  who is told
 * @property {(conversation: Conversation, node: Message) => void} grew
 * @property {(conversation: Conversation, node: Message, event: any) => void} route
 * @property {(conversation: Conversation, node: Message) => void} ended
 * @property {(conversation: Conversation) => unknown} save
 */

export class Answers {
  /** @param {Watcher} watcher @param {() => number} now ms of a clock that never jumps */
  constructor(watcher, now) {
    this.watcher = watcher;
    this.now = now;
    /** @type {Map<string, {conversation: Conversation, node: Message, answer: any, stopped: boolean, dropped: boolean}>} */
    this.running = new Map();
  }

  /** @param {string} id of a conversation */
  get(id) { return this.running.get(id); }

  /** @param {any} client @param {Conversation} conversation @param {Message} node @param {object} request */
  async start(client, conversation, node, request) {
    const { watcher, now } = this;
    const began = now();
    let saved = -Infinity; // so the first piece is stored at once
    const entry = { conversation, node, answer: /** @type {any} */ (null), stopped: false, dropped: false };
    this.running.set(conversation.id, entry);
    try {
      entry.answer = client.create(request);
      for await (const event of entry.answer) {
        if (entry.dropped) return;
        const what = take(node, event, now() - began);
        if (what === "route") watcher.route(conversation, node, event);
        else if (what) watcher.grew(conversation, node);
        if (what && what !== "route" && now() - saved > SAVE_EVERY) {
          saved = now();
          watcher.save(conversation);
        }
      }
      if (node.status === "running") throw Object.assign(new Error("The answer has no end."), { code: "connection_lost" });
    } catch (error) {
      if (entry.stopped) node.status = "stopped";
      else fail(node, error, now() - began);
    }
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
