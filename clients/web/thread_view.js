/** Shows the messages of the chosen way: the last ones at once, older ones when there is time; keeps the reader's place. */

import { h } from "./dom.js";
import { MessageView } from "./message_view.js";

const AT_ONCE = 16; // messages that are there in the first frame
const IN_IDLE = 12; // and so many more whenever the browser has time
const NEAR = 64; // px from the end that still count as being there

const whenIdle = window.requestIdleCallback ?? ((/** @type {any} */ task) => setTimeout(task, 30));

export class ThreadView {
  /**
   * @param {{scroller: HTMLElement, list: HTMLElement, jump: HTMLElement, actions: import("./message_view.js").Actions}} parts
   */
  constructor({ scroller, list, jump, actions }) {
    this.scroller = scroller;
    this.list = list;
    this.jump = jump;
    this.actions = actions;
    /** @type {Map<string, MessageView>} */
    this.views = new Map();
    /** @type {import("./tree.js").Message[]} */
    this.path = [];
    /** @type {import("./tree.js").Conversation | null} */
    this.conversation = null;
    this.oldest = 0; // index in `path` of the first message that is on the page
    this.pinned = true; // to the end; a reader who scrolled up stays where they are
    this.run = 0;
    /** @type {Set<MessageView>} */
    this.waiting = new Set();
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#follow()).observe(list);
    jump.addEventListener("click", () => this.toEnd());
  }

  /** Show this conversation; of the same one, only what has changed is touched. @param {import("./tree.js").Conversation} conversation */
  show(conversation) {
    const path = conversation.path();
    const other = this.conversation?.id !== conversation.id;
    if (other) {
      this.clear();
      this.conversation = conversation;
      this.oldest = Math.max(0, path.length - AT_ONCE);
      this.pinned = true;
    }
    this.conversation = conversation;
    this.oldest = Math.min(this.oldest, path.length);
    const wanted = path.slice(this.oldest);
    const keep = new Set(wanted.map((node) => node.id));
    for (const [id, view] of this.views) {
      if (keep.has(id) && view.node === conversation.node(id)) continue;
      view.element.remove();
      this.views.delete(id);
    }
    this.path = path;
    let next = this.list.firstElementChild;
    for (const node of wanted) {
      const { element } = this.#place(node);
      if (element === next) next = element.nextElementSibling;
      else this.list.insertBefore(element, next); // a new view, also one in the middle: what is there never moves
    }
    this.#follow();
    if (this.oldest > 0) this.#fillWhenIdle();
  }

  clear() {
    this.run += 1;
    this.views.clear();
    this.waiting.clear();
    this.list.replaceChildren();
    this.conversation = null;
    this.path = [];
    this.oldest = 0;
  }

  /** Text has come. It is painted with the next frame. @param {string} id */
  grew(id) {
    const view = this.views.get(id);
    if (!view) return;
    if (this.waiting.size === 0) requestAnimationFrame(() => this.#paint());
    this.waiting.add(view);
  }

  /** Status, versions or stats of a message have changed. @param {string} id */
  changed(id) {
    const view = this.views.get(id);
    if (!view || !this.conversation) return;
    view.flush();
    view.update(this.#version(id));
    this.#follow();
  }

  toEnd() {
    this.pinned = true;
    this.#follow();
  }

  /** Open the editor of the last question. */
  editLast() {
    const last = this.path.findLast((node) => node.role === "user");
    const view = last && this.views.get(last.id);
    view?.startEdit();
    view?.element.scrollIntoView({ block: "nearest" });
    return Boolean(view);
  }

  #paint() {
    for (const view of this.waiting) view.flush();
    this.waiting.clear();
    this.#follow();
  }

  /** @param {import("./tree.js").Message} node */
  #place(node) {
    let view = this.views.get(node.id);
    if (!view) {
      view = new MessageView(node, this.actions);
      this.views.set(node.id, view);
    }
    view.update(this.#version(node.id));
    return view;
  }

  /** @param {string} id */
  #version(id) {
    const siblings = this.conversation?.siblings(id) ?? [id];
    const routed = siblings.some((each) => this.conversation?.node(each).routed);
    return { index: siblings.indexOf(id), count: siblings.length, last: this.path.at(-1)?.id === id, routed };
  }

  #fillWhenIdle() {
    const run = (this.run += 1);
    const fill = () => {
      if (run !== this.run || this.oldest === 0) return;
      const from = Math.max(0, this.oldest - IN_IDLE);
      const older = document.createDocumentFragment();
      for (const node of this.path.slice(from, this.oldest)) {
        const view = new MessageView(node, this.actions);
        view.update(this.#version(node.id));
        this.views.set(node.id, view);
        older.append(view.element);
      }
      const below = this.scroller.scrollHeight - this.scroller.scrollTop;
      this.list.prepend(older);
      this.oldest = from;
      if (this.pinned) this.#follow();
      else this.scroller.scrollTop = this.scroller.scrollHeight - below;
      whenIdle(fill);
    };
    whenIdle(fill);
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    // Only the reader moves up: growth of the text changes scrollHeight, never scrollTop downwards.
    if (scrollTop < (this.last ?? 0) - 1 || scrollHeight - scrollTop - clientHeight < NEAR) {
      this.pinned = scrollHeight - scrollTop - clientHeight < NEAR;
    }
    this.last = scrollTop;
    this.#showJump();
  }

  #follow() {
    if (this.pinned) {
      this.scroller.scrollTop = this.scroller.scrollHeight;
      this.last = this.scroller.scrollTop;
    }
    this.#showJump();
  }

  #showJump() {
    this.jump.hidden = this.pinned || this.list.childElementCount === 0;
  }
}
