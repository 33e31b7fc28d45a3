/** Files between the page and the person: saved as a download, picked with the browser's own dialog. */

import { h } from "./dom.js";

const LONG_ENOUGH = 60_000; // ms; the browser reads the blob when the download begins

/** @param {string} name @param {string} text */
export function saveFile(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), LONG_ENOUGH);
}

/** @param {HTMLElement} element an input of type file @param {(text: string) => void} use */
export function pickFile(element, use) {
  const input = /** @type {HTMLInputElement} */ (element);
  input.onchange = async () => {
    const [file] = input.files ?? [];
    input.value = "";
    if (file) use(await file.text());
  };
  input.click();
}
