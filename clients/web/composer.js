/** The place where one writes: grows with the text, sends, stops, and keeps a draft. */

import { byId, h } from "./dom.js";
import { ofTab } from "./storage.js";

const isTouch = () => matchMedia("(pointer: coarse)").matches;

export class Composer {
  /**
   * @param {{send: (text: string) => boolean, stop: () => void, editLast: () => void, model: (id: string) => void}} actions
   *   `send` says whether it took the text.
   */
  constructor(actions) {
    this.actions = actions;
    this.form = byId("composer");
    this.text = /** @type {HTMLTextAreaElement} */ (byId("prompt"));
    this.button = /** @type {HTMLButtonElement} */ (byId("send"));
    this.models = /** @type {HTMLSelectElement} */ (byId("model"));
    this.draft = "";
    this.running = false;
    this.ready = false;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.running) actions.stop();
      else this.#send();
    });
    this.text.addEventListener("keydown", (event) => this.#key(event));
    this.text.addEventListener("input", () => this.#edited());
    this.models.addEventListener("change", () => actions.model(this.models.value));
    byId("composer-card").addEventListener("click", (event) => {
      if (event.target === event.currentTarget) this.text.focus();
    });
  }

  focus() {
    if (!isTouch()) this.text.focus(); // on a phone it would open the keyboard
  }

  /** The draft of one conversation: what was typed and not sent. @param {string} name */
  useDraft(name) {
    this.draft = `streamlane-draft/${name}`;
    this.text.value = ofTab.get(this.draft) ?? "";
    this.#edited();
  }

  /** @param {string} text */
  set(text) {
    this.text.value = text;
    this.#edited();
    this.text.focus();
  }

  /** @param {boolean} running @param {boolean} ready whether a question could be sent */
  update(running, ready) {
    this.running = running;
    this.ready = ready;
    const label = running ? "Stop" : "Send";
    this.button.classList.toggle("stopping", running);
    this.button.setAttribute("aria-label", label);
    this.button.title = running ? "Stop (Esc)" : "Send (Enter)";
    this.#able();
  }

  /** @param {{id: string, owned_by?: string}[]} models @param {string | undefined} chosen */
  offer(models, chosen) {
    const groups = new Map();
    for (const { id, owned_by: owner = "" } of models) groups.set(owner, [...(groups.get(owner) ?? []), id]);
    const options = (/** @type {string[]} */ ids) => ids.map((id) => h("option", { value: id, selected: id === chosen }, id));
    const many = groups.size > 1;
    const elements = [...groups].flatMap(([owner, ids]) => (many ? [h("optgroup", { label: owner }, ...options(ids))] : options(ids)));
    this.models.replaceChildren(...(elements.length ? elements : [h("option", { value: "" }, "No model")]));
    this.models.disabled = models.length === 0;
    if (chosen) this.models.value = chosen;
  }

  #send() {
    const text = this.text.value.trim();
    if (!text || !this.ready || !this.actions.send(text)) return;
    this.text.value = "";
    this.#edited();
    this.focus(); // not on the button: it may go dark, and focus would be lost
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey && !isTouch()) {
      event.preventDefault();
      if (!this.running) this.#send();
    } else if (event.key === "ArrowUp" && !this.text.value && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.actions.editLast();
    }
  }

  #edited() {
    if (this.text.value) ofTab.set(this.draft, this.text.value);
    else ofTab.remove(this.draft);
    this.text.style.height = "auto";
    this.text.style.height = `${Math.min(this.text.scrollHeight, Math.round(innerHeight * 0.4))}px`;
    this.#able();
  }

  #able() {
    this.button.disabled = !this.running && (!this.ready || !this.text.value.trim());
  }
}
