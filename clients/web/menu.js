/** A small menu beside a button: arrows move, Esc or a click elsewhere closes, focus goes back to the button. */

import { h, icon } from "./dom.js";

/** @typedef {{label: string, icon?: any, danger?: boolean, action: () => void}} Item */

/** @param {HTMLElement} anchor @param {string} label @param {Item[]} items */
export function openMenu(anchor, label, items) {
  document.querySelector(".menu")?.remove();
  const close = (/** @type {boolean} */ back) => {
    menu.remove();
    anchor.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", outside, true);
    if (back) anchor.focus();
  };
  const buttons = items.map((item) =>
    h("button", {
      type: "button", role: "menuitem", tabindex: "-1", class: item.danger ? "danger" : null,
      onclick: () => {
        close(true);
        item.action();
      },
    }, item.icon && icon(item.icon), item.label));
  const menu = h("div", { class: "menu", role: "menu", "aria-label": label }, ...buttons);
  menu.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(/** @type {any} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (to !== undefined) buttons.at(to % buttons.length)?.focus();
    else if (event.key === "Escape") close(true);
    else if (event.key === "Tab") return close(true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const outside = (/** @type {Event} */ event) => {
    if (!menu.contains(/** @type {Node} */ (event.target))) close(false);
  };
  document.addEventListener("pointerdown", outside, true);
  // Not beside its button: a message is a box of its own for what is positioned. And not in the body: it belongs to a landmark.
  (anchor.closest("main, aside") ?? document.body).append(menu);
  place(menu, anchor);
  anchor.setAttribute("aria-expanded", "true");
  buttons[0]?.focus();
}

/** Below its button, or above where there is no room; never outside the window. @param {HTMLElement} menu @param {HTMLElement} anchor */
function place(menu, anchor) {
  const at = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = at.bottom + 6 + height <= innerHeight || at.top < height + 6;
  menu.style.top = `${Math.max(8, below ? at.bottom + 6 : at.top - height - 6)}px`;
  menu.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`;
}
