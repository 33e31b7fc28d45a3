/** What stands in an empty chat: which model answers, what one could ask, or what is missing and what to do. */

import { h, icon } from "./dom.js";

const EXAMPLES = [
  ["Explain", "Explain how a rainbow forms, in three short paragraphs."],
  ["Write", "Write a Python function that finds the longest word in a text, with a test."],
  ["Plan", "Plan a quiet weekend in the mountains as a table: time, what, what to bring."],
];

/**
 * @param {{status: string, models: {id: string}[], model?: string, ask: (text: string) => void, again: () => void}} now
 * @returns {HTMLElement[]}
 */
export function welcome({ status, models, model, ask, again }) {
  const look = h("button", { type: "button", class: "button", onclick: again }, icon("regenerate"), "Look again");
  if (status === "loading") return [h("p", { class: "hint" }, "One moment…")];
  if (status === "key") return [h("p", { class: "hint" }, "Sign in to chat.")];
  if (status === "unreachable")
    return [
      h("h2", {}, "The gateway does not answer"),
      h("p", {}, "Is it running? This page asks again by itself. Chats that are here can be read meanwhile."), look,
    ];
  if (models.length === 0)
    return [
      h("h2", {}, "No model is here yet"),
      h("p", {}, "Start a model server such as Ollama, llama.cpp, vLLM or LocalAI on this machine, or get a small model on the gateway’s machine with:"),
      h("pre", { class: "command", tabindex: "0" }, h("code", {}, "streamlane models pull smollm2")),
      h("p", {}, "Then start the gateway again. This page notices by itself."), look,
    ];
  return [
    h("h2", {}, "What is on your mind?"),
    h("p", {}, h("strong", {}, model ?? models[0].id), " answers here. Your chats are kept in this browser alone."),
    h("ul", { class: "examples" }, ...EXAMPLES.map(([word, text]) =>
      h("li", {}, h("button", { type: "button", class: "example", onclick: () => ask(text) }, h("span", { class: "example-word" }, word), text)))),
  ];
}
