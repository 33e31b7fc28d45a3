/** Shows one message: its text, what goes on with it, and what one can do with it. */

import { finishCode } from "./code_blocks.js";
import { confirmOn, copyText, h, icon, iconButton } from "./dom.js";
import { Markdown } from "./markdown.js";
import { seconds, speed } from "./progress.js";
import { endingOf, wordsFor } from "./words.js";

/**
 * @typedef {import("./tree.js").Message} Message
 * @typedef {object} Actions  what a message's buttons do
 * @property {(node: Message, by: number) => void} turn  to the version before or after
 * @property {(node: Message, text: string) => void} edit
 * @property {(node: Message) => void} regenerate
 * @property {(node: Message, anchor: HTMLElement) => void} chooseModel  then regenerate
 * @property {(node: Message, rating: "up" | "down", button: HTMLElement) => void} rate
 * @property {(node: Message) => void} continue
 * @property {() => void} signIn
 * @property {() => void} newChat
 */

export class MessageView {
  /** @param {Message} node @param {Actions} actions */
  constructor(node, actions) {
    this.node = node;
    this.actions = actions;
    this.isUser = node.role === "user";
    const id = `m-${node.id}`;
    this.who = h("h2", { class: "who", id });
    this.body = h("div", { class: this.isUser ? "said" : "prose" });
    this.state = h("p", { class: "waiting" });
    this.problem = h("div", { class: "problem-place" });
    this.foot = h("div", { class: "foot" });
    this.element = h(
      "article", { class: `turn ${node.role}`, "aria-labelledby": id, tabindex: "-1" },
      h("span", { class: "node", "aria-hidden": "true" }), this.who, this.body, this.state, this.problem, this.foot,
    );
    this.shown = 0; // characters of the text that stand on the page
    this.markdown = this.isUser ? null : new Markdown(this.body, finishCode);
    if (this.isUser) this.body.textContent = node.text;
    this.flush();
    this.update({ index: 0, count: 1, last: false, routed: false });
  }

  /** Put on the page what has come since the last time. Call it at most once a frame. */
  flush() {
    if (!this.markdown) return;
    const { text, reasoning, status } = this.node;
    if (reasoning) this.#reason(reasoning);
    if (text.length > this.shown) {
      this.markdown.write(text.slice(this.shown));
      this.shown = text.length;
      this.state.hidden = true;
    }
    if (status !== "running" && !this.ended) {
      this.ended = true;
      this.markdown.end();
    }
  }

  /** Say what goes on before the first token. @param {string} words */
  say(words) {
    if (this.shown > 0 || this.node.reasoning) return;
    this.state.replaceChildren(h("span", { class: "pulse", "aria-hidden": "true" }), words);
    this.state.hidden = false;
  }

  /**
   * Everything but the text.
   * @param {{index: number, count: number, last: boolean, routed: boolean}} place among its siblings, whether nothing
   *   follows it, and whether the gateway chose who answered one of them
   */
  update({ index, count, last, routed }) {
    const { node } = this;
    const running = node.status === "running";
    this.version = { index, count };
    this.last = last;
    this.routed = routed;
    this.who.textContent = this.isUser ? "You" : [node.model || "Answer", ...(node.by && node.by !== node.model ? [node.by] : [])].join(" · ");
    this.element.classList.toggle("running", running);
    this.element.setAttribute("aria-busy", String(running));
    if (!running) this.state.hidden = true;
    else if (!this.state.textContent) this.say("Sending…");
    if (this.thinking) this.thinking.textContent = this.#thoughtWords();
    this.problem.replaceChildren(...(running || this.isUser ? [] : this.#ending()));
    this.foot.replaceChildren(...(running ? [] : this.isUser ? this.#userFoot() : this.#answerFoot()));
  }

  /** @param {string} text */
  #reason(text) {
    if (!this.reasoning) {
      this.thinking = h("summary", {});
      this.reasoning = h("div", { class: "reasoning-text" });
      this.body.before(h("details", { class: "reasoning" }, this.thinking, this.reasoning));
      this.state.hidden = true;
    }
    const shown = this.reasoning.textContent?.length ?? 0;
    if (text.length > shown) this.reasoning.append(text.slice(shown));
    if (this.thinking) this.thinking.textContent = this.#thoughtWords();
  }

  #thoughtWords() {
    const { thought, status, text } = this.node;
    if (thought !== undefined) return `Thought for ${seconds(thought)}`;
    return status === "running" && !text ? "Thinking…" : "Thoughts";
  }

  /** Why the answer has no ordinary end, if so. @returns {HTMLElement[]} */
  #ending() {
    const { node, actions } = this;
    if (node.status === "failed" && node.error) {
      const words = wordsFor(node.error);
      return [h(
        "div", { class: "problem" },
        h("p", {}, h("strong", {}, words.title), " ", words.advice),
        h("p", { class: "problem-detail" }, h("code", {}, node.error.code), " ", node.error.message),
        h("p", { class: "problem-actions" },
          words.signIn && h("button", { type: "button", class: "button primary", onclick: () => actions.signIn() }, "Sign in"),
          words.newChat && h("button", { type: "button", class: "button primary", onclick: () => actions.newChat() }, icon("plus"), "New chat"),
          words.retry && h("button", { type: "button", class: "button", onclick: () => actions.regenerate(node) }, icon("regenerate"), "Retry"),
          words.other && h(
            "button",
            { type: "button", class: "button", "aria-haspopup": "menu", onclick: (/** @type {any} */ e) => actions.chooseModel(node, e.currentTarget) },
            "Other model", icon("chevronDown"),
          ),
          this.#continueButton(),
        ),
      )];
    }
    const ending = endingOf(node.status);
    return ending ? [h("p", { class: "ending" }, ending, this.#continueButton())] : [];
  }

  /** Only the last answer can go on. */
  #continueButton() {
    if (!this.node.text || !this.last) return null;
    return h("button", { type: "button", class: "button", onclick: () => this.actions.continue(this.node) }, icon("continue"), "Continue");
  }

  #versions() {
    const { index, count } = this.version ?? { index: 0, count: 1 };
    if (count < 2) return [];
    const turn = (/** @type {number} */ by) => () => this.actions.turn(this.node, by);
    return [h(
      "span", { class: "versions", role: "group", "aria-label": "Versions" },
      iconButton("chevronLeft", "Previous version", turn(-1), { disabled: index === 0 }),
      h("span", { class: "versions-count" }, `${index + 1}/${count}`),
      iconButton("chevronRight", "Next version", turn(1), { disabled: index === count - 1 }),
    )];
  }

  #copyButton() {
    return iconButton("copy", "Copy text", async (event) => {
      const button = /** @type {HTMLElement} */ (event.currentTarget);
      await copyText(this.node.text);
      confirmOn(button, "Copied");
    });
  }

  #userFoot() {
    return [...this.#versions(), this.#copyButton(), iconButton("edit", "Edit", () => this.startEdit(), { class: "icon-button edit" })];
  }

  #answerFoot() {
    const { node, actions } = this;
    const words = speed(node);
    return [
      ...this.#versions(),
      words.length && h("span", { class: "speed" }, words.join(" · ")),
      node.text && this.#copyButton(),
      ...this.#thumbs(),
      iconButton("regenerate", "Answer again", () => actions.regenerate(node), { class: "icon-button regenerate" }),
      iconButton(
        "chevronDown", "Answer again with another model",
        (event) => actions.chooseModel(node, /** @type {HTMLElement} */ (event.currentTarget)),
        { class: "icon-button slim", "aria-haspopup": "menu" },
      ),
    ].filter((element) => element instanceof Node);
  }

  /** The gateway only learns from answers to a question whose answerer it chose. */
  #thumbs() {
    const { node, actions } = this;
    if (!this.routed || !node.response || !node.text) return [];
    const thumb = (/** @type {"up" | "down"} */ rating, /** @type {string} */ label) =>
      iconButton(rating, label, ({ currentTarget }) => actions.rate(node, rating, /** @type {HTMLElement} */ (currentTarget)), {
        class: "icon-button rate", "data-rating": rating, "aria-pressed": String(node.rating === rating),
      });
    return [thumb("up", "Good answer"), thumb("down", "Bad answer")];
  }

  /** The thumbs as they are now: the buttons stay, and with them the focus. */
  showRating() {
    for (const button of this.foot.querySelectorAll(".rate"))
      button.setAttribute("aria-pressed", String(button.getAttribute("data-rating") === this.node.rating));
  }

  startEdit() {
    if (this.element.querySelector("form")) return;
    const area = h("textarea", { class: "edit-area", "aria-label": "Edit your message", rows: "1" });
    area.value = this.node.text;
    const fit = () => {
      area.style.height = "auto";
      area.style.height = `${area.scrollHeight + 2}px`;
    };
    const close = () => {
      form.remove();
      this.body.hidden = this.foot.hidden = false;
      /** @type {HTMLElement | null} */ (this.foot.querySelector(".edit"))?.focus();
    };
    const form = h(
      "form", { class: "edit-form" }, area,
      h("p", { class: "hint" }, "The first version stays: switch with the arrows below it."),
      h("div", { class: "edit-actions" },
        h("button", { type: "button", class: "button", onclick: close }, "Cancel"),
        h("button", { type: "submit", class: "button primary" }, "Send")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (area.value.trim()) this.actions.edit(this.node, area.value.trim());
    });
    form.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") {
        event.stopPropagation();
        close();
      } else if (event.key === "Enter" && !event.shiftKey && event.target === area && !matchMedia("(pointer: coarse)").matches) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    area.addEventListener("input", fit);
    this.body.hidden = this.foot.hidden = true;
    this.body.after(form);
    fit();
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }
}
