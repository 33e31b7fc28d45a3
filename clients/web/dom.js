/** Makes elements: text stays text, and no string is ever parsed as HTML. */

import { PATHS } from "./icons.js";

/**
 * An element with attributes, listeners (`onclick: function`) and children. `null`, `undefined` and `false` are left out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag @param {Record<string, any>} [attributes] @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) if (child) element.append(child);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button that is only a picture. @param {keyof typeof PATHS} name @param {string} label @param {(event: MouseEvent) => void} onclick */
export function iconButton(name, label, onclick, attributes = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...attributes }, icon(name));
}

/** @template {HTMLElement} T @param {string} id @returns {T} */
export function byId(id) {
  return /** @type {T} */ (document.getElementById(id));
}

/** Put text on the clipboard, also where the browser offers no clipboard API (plain HTTP in a local network) or forbids it. @param {string} text */
export async function copyText(text) {
  try {
    return await navigator.clipboard.writeText(text);
  } catch {
    // There is none, or the browser does not let this page have it.
  }
  const area = h("textarea", { class: "off-screen", "aria-hidden": "true" });
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** Say on a button for a moment that it worked. @param {HTMLElement} button @param {string} word */
export function confirmOn(button, word) {
  if (button.classList.contains("confirmed")) return;
  const label = button.getAttribute("aria-label") ?? "";
  button.classList.add("confirmed");
  button.setAttribute("aria-label", word);
  setTimeout(() => {
    button.classList.remove("confirmed");
    button.setAttribute("aria-label", label);
  }, 1500);
}
