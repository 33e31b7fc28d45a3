/** The badge that says how the connection is. */

import { byId } from "./dom.js";
import { connectionWords } from "./words.js";

/** @param {import("./gateway.js").Gateway} gateway */
export function showConnection({ status, connection, retryIn }) {
  const state = status === "unreachable" ? "waiting" : navigator.onLine ? connection : "offline";
  const badge = byId("connection");
  const place = byId("connection-words");
  const words = connectionWords(state, retryIn);
  badge.dataset.state = state;
  badge.title = words; // on a phone it is a dot
  if (place.textContent !== words) place.textContent = words;
}
