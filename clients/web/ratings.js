/** What a person thinks of an answer: told to the gateway, whose router can learn from it, and kept with the answer. */

import { wordsFor } from "./words.js";

/** @typedef {import("./tree.js").Message} Message */

const GONE = "This answer cannot be rated any more: the gateway no longer knows of it.";

export class Ratings {
  /**
   * @param {{client: () => any, toast: import("./toast.js").Toast, thread: import("./thread_view.js").ThreadView,
   *   save: () => void}} parts
   */
  constructor(parts) {
    this.parts = parts;
  }

  /** Good, or not; the same again takes it back. @param {Message} node @param {"up" | "down"} rating @param {HTMLElement} button */
  async rate(node, rating, button) {
    const { client, toast, thread } = this.parts;
    const before = node.rating;
    const now = before === rating ? undefined : rating;
    this.#show(node, now);
    try {
      await client().rate(node.response, now ?? null);
    } catch (/** @type {any} */ error) {
      this.#show(node, before);
      const { title, advice } = wordsFor(error);
      return toast.show(error.code === "response_not_found" ? GONE : `${title} ${advice}`);
    }
    if (now === "down")
      toast.show("Thank you. Another model may do better.", { label: "Ask another", action: () => thread.actions.chooseModel(node, button) });
  }

  /** @param {Message} node @param {"up" | "down" | undefined} rating */
  #show(node, rating) {
    if (rating) node.rating = rating;
    else delete node.rating;
    this.parts.thread.views.get(node.id)?.showRating();
    this.parts.save();
  }
}
