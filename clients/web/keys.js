/** Keys that work everywhere on the page. Those of one part are handled there. */

import * as dialogs from "./dialogs.js";

/** @param {{stop: () => boolean, newChat: () => void, toggleList: () => void, focusPrompt: () => void}} actions */
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || dialogs.anyOpen()) return;
    const typing = /** @type {HTMLElement} */ (event.target).closest("input, textarea, select") !== null;
    const action = keyed(event, typing, actions);
    if (!action) return;
    if (action() !== false) event.preventDefault();
  });
}

/** @param {KeyboardEvent} event @param {boolean} typing @param {Parameters<typeof listen>[0]} actions @returns {(() => any) | null} */
function keyed(event, typing, { stop, newChat, toggleList, focusPrompt }) {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
    if (event.key.toLowerCase() === "k") return newChat;
    if (event.key.toLowerCase() === "b") return toggleList;
    return null;
  }
  if (event.key === "Escape") return stop;
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return null;
  if (event.key === "?") return () => dialogs.open("help");
  if (event.key === "/") return focusPrompt;
  return null;
}
