/** The list of conversations: by day, searched, renamed, deleted; a drawer on narrow screens. */

import { byId, h, iconButton } from "./dom.js";
import { openMenu } from "./menu.js";
import { ofDevice } from "./storage.js";

/** @typedef {import("./chats.js").Entry} Entry */

const DAY = 86_400_000;
const SEARCH_AFTER = 150; // ms without a key

export class Sidebar {
  /**
   * @param {{rename: (id: string, title: string) => void, remove: (entry: Entry) => void, download: (id: string) => void,
   *   search: (text: string) => Promise<Set<string>>}} actions
   */
  constructor(actions) {
    this.actions = actions;
    this.panel = byId("sidebar");
    this.list = byId("chats");
    this.search = /** @type {HTMLInputElement} */ (byId("search"));
    this.toggle = byId("toggle-sidebar");
    this.scrim = byId("scrim");
    this.narrow = matchMedia("(max-width: 760px)");
    /** @type {Entry[]} */
    this.entries = [];
    /** @type {Set<string> | null} */
    this.found = null;
    this.current = "";
    this.timer = 0;
    /** @type {Set<string>} */
    this.running = new Set();
    this.toggle.addEventListener("click", () => this.setOpen(!this.isOpen));
    this.scrim.addEventListener("click", () => this.setOpen(false));
    byId("close-sidebar").addEventListener("click", () => this.setOpen(false));
    this.search.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => void this.#search(), SEARCH_AFTER);
    });
    this.narrow.addEventListener("change", () => this.setOpen(this.#wide, false));
    this.setOpen(this.#wide, false);
  }

  get isOpen() { return this.panel.classList.contains("open"); }
  get #wide() { return !this.narrow.matches && ofDevice.get("streamlane-sidebar") !== "closed"; }

  /** @param {boolean} open @param {boolean} [focus] */
  setOpen(open, focus = true) {
    const drawer = this.narrow.matches;
    this.panel.classList.toggle("open", open);
    this.panel.inert = !open;
    this.scrim.hidden = !(open && drawer);
    byId("main").inert = open && drawer; // a drawer covers the page, for the keyboard too
    this.toggle.setAttribute("aria-expanded", String(open));
    if (!drawer && focus) ofDevice.set("streamlane-sidebar", open ? "open" : "closed");
    if (focus && open) this.search.focus({ preventScroll: true });
    if (focus && !open) this.toggle.focus();
  }

  /** @returns {boolean} whether there was a drawer to close */
  closeDrawer() {
    const open = this.narrow.matches && this.isOpen;
    if (open) this.setOpen(false);
    return open;
  }

  /** On a phone the drawer makes room for what was chosen. */
  chosen() {
    this.closeDrawer();
  }

  /** @param {{entries?: Entry[], current?: string, running?: Set<string>, now: number}} change */
  update({ entries = this.entries, current = this.current, running = this.running, now }) {
    Object.assign(this, { entries, current, running });
    if (this.list.querySelector(".rename")) return; // nobody is interrupted while typing
    const shown = this.found ? entries.filter(({ id }) => this.found?.has(id)) : entries;
    const active = document.activeElement?.closest("#chats li") && document.activeElement;
    const focused = active && `${active.closest("li")?.dataset.id} ${active.tagName}`;
    /** @type {Map<string, HTMLElement[]>} */
    const days = new Map();
    for (const entry of shown) {
      const day = dayOf(entry.updated, now);
      days.set(day, [...(days.get(day) ?? []), this.#line(entry)]);
    }
    this.list.replaceChildren(...[...days].flatMap(([day, lines]) => [h("h3", { class: "day" }, day), h("ul", {}, ...lines)]));
    if (shown.length === 0) this.list.append(h("p", { class: "nothing" }, this.found ? "No chat mentions that." : "Your chats will stand here. They stay in this browser."));
    if (focused) {
      const [id, tag] = focused.split(" ");
      this.#find(id, tag)?.focus();
    }
  }

  /** @param {string} id @param {string} selector @returns {HTMLElement | null | undefined} */
  #find(id, selector) {
    return this.list.querySelector(`li[data-id="${CSS.escape(id)}"]`)?.querySelector(selector);
  }

  /** @param {Entry} entry */
  #line(entry) {
    const here = entry.id === this.current;
    const running = this.running.has(entry.id);
    const link = h(
      "a", { href: `#${entry.id}`, "aria-current": here && "page" },
      h("span", { class: "chat-title" }, entry.title),
      running && h("span", { class: "chat-running" }, h("span", { class: "visually-hidden" }, " (answering)")),
    );
    const more = iconButton("more", `More on ${entry.title}`, () => openMenu(more, entry.title, [
      { label: "Rename", icon: "edit", action: () => this.#rename(entry) },
      { label: "Export", icon: "download", action: () => this.actions.download(entry.id) },
      { label: "Delete", icon: "trash", danger: true, action: () => this.actions.remove(entry) },
    ]), { "aria-haspopup": "menu", "aria-expanded": "false" });
    return h("li", { class: here ? "chat here" : "chat", "data-id": entry.id }, link, more);
  }

  /** @param {Entry} entry */
  #rename(entry) {
    const input = h("input", { class: "rename", "aria-label": "New name", maxlength: "200" });
    input.value = entry.title;
    let open = true;
    const done = (/** @type {boolean} */ keep) => {
      if (!open) return;
      open = false;
      input.remove();
      if (keep && input.value.trim()) this.actions.rename(entry.id, input.value);
      this.update({ now: Date.now() });
      this.#find(entry.id, "a")?.focus();
    };
    input.addEventListener("keydown", (event) => {
      if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
      event.preventDefault();
      event.stopPropagation();
      done(event.key === "Enter");
    });
    input.addEventListener("blur", () => done(true));
    this.list.querySelector(`li[data-id="${CSS.escape(entry.id)}"]`)?.replaceChildren(input);
    input.focus();
    input.select();
  }

  async #search() {
    const text = this.search.value.trim();
    const found = text ? await this.actions.search(text) : null;
    if (text !== this.search.value.trim()) return; // the next search is under way
    this.found = found;
    this.update({ now: Date.now() });
  }
}

/** @param {number} at @param {number} now both Unix ms */
function dayOf(at, now) {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (at >= midnight) return "Today";
  if (at >= midnight - DAY) return "Yesterday";
  if (at >= midnight - 7 * DAY) return "Last 7 days";
  return new Date(at).toLocaleDateString(undefined, { month: "long", year: "numeric" });
}

