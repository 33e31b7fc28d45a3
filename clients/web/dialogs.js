/** The sheets over the page: settings, sign-in, confirmation, keyboard help. */

import { byId } from "./dom.js";

/** @param {string} id */
const dialog = (id) => /** @type {HTMLDialogElement} */ (byId(id));
/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (byId(id));

/** @param {string} id */
export function open(id) {
  if (!dialog(id).open) dialog(id).showModal();
}

export function anyOpen() {
  return document.querySelector("dialog[open]") !== null;
}

/** A click beside a sheet closes it, but not the one that the page cannot go on without. */
export function closeOnBackdrop() {
  for (const id of ["settings", "confirm", "quota-sheet", "help"])
    dialog(id).addEventListener("click", (event) => {
      if (event.target === event.currentTarget) dialog(id).close("no");
    });
}

/** @returns {Promise<boolean>} */
export function confirmDeleteAll() {
  const sheet = dialog("confirm");
  sheet.returnValue = "no";
  sheet.showModal();
  return new Promise((resolve) => sheet.addEventListener("close", () => resolve(sheet.returnValue === "yes"), { once: true }));
}

/**
 * Let a person change the settings of a conversation.
 * @param {import("./tree.js").Settings} settings @param {(settings: import("./tree.js").Settings) => void} changed
 */
export function editSettings(settings, changed) {
  const sheet = dialog("settings");
  const text = /** @type {HTMLTextAreaElement} */ (byId("instructions"));
  text.value = settings.instructions ?? "";
  input("temperature").value = String(settings.temperature ?? "");
  input("max-tokens").value = String(settings.max_output_tokens ?? "");
  sheet.addEventListener("close", () => {
    const { instructions: _, temperature: __, max_output_tokens: ___, ...rest } = settings;
    const temperature = number("temperature", 0, 2);
    const tokens = number("max-tokens", 1, 10_000_000);
    changed({
      ...rest,
      ...(text.value.trim() ? { instructions: text.value.trim() } : {}),
      ...(temperature === undefined ? {} : { temperature }),
      ...(tokens === undefined ? {} : { max_output_tokens: Math.round(tokens) }),
    });
  }, { once: true });
  sheet.showModal();
}

/** What was typed, within bounds. @param {string} id @param {number} least @param {number} most */
function number(id, least, most) {
  const value = input(id).valueAsNumber;
  return Number.isNaN(value) ? undefined : Math.min(most, Math.max(least, value));
}

/** Ask for a key until `tryKey` accepts one. @param {(key: string, remember: boolean) => Promise<string | null>} tryKey gives the reason of a refusal */
export function setUpSignIn(tryKey) {
  const sheet = dialog("sign-in");
  const error = byId("key-error");
  const button = /** @type {HTMLButtonElement} */ (byId("sign-in-button"));
  sheet.addEventListener("cancel", (event) => event.preventDefault()); // there is nothing behind it to use
  byId("sign-in-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    error.hidden = true;
    const refusal = await tryKey(input("key").value.trim(), input("remember").checked);
    button.disabled = false;
    error.hidden = refusal === null;
    error.textContent = refusal ?? "";
    input("key").setAttribute("aria-invalid", String(refusal !== null));
    if (refusal === null) {
      input("key").value = "";
      sheet.close();
    } else {
      input("key").focus();
    }
  });
}
