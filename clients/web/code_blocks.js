/** A finished code block gets its copy button at once and its colours when the browser has nothing else to do. */

import { confirmOn, copyText, icon, h } from "./dom.js";

const FOLDER = "./vendor/highlight/languages/";
const ALIASES = {
  "c++": "cpp", cc: "cpp", h: "c", hpp: "cpp", cs: "csharp", "c#": "csharp", docker: "dockerfile", golang: "go", html: "xml",
  svg: "xml", js: "javascript", jsx: "javascript", mjs: "javascript", node: "javascript", kt: "kotlin", md: "markdown",
  py: "python", python3: "python", rb: "ruby", rs: "rust", sh: "bash", zsh: "bash", console: "shell", toml: "ini",
  ts: "typescript", tsx: "typescript", yml: "yaml", patch: "diff", jsonc: "json", postgresql: "sql", sqlite: "sql",
};
const LANGUAGES = new Set([
  "bash", "c", "cpp", "csharp", "css", "diff", "dockerfile", "go", "ini", "java", "javascript", "json", "kotlin", "markdown",
  "php", "python", "ruby", "rust", "shell", "sql", "swift", "typescript", "xml", "yaml",
]);
const LONGEST = 30_000; // characters; beyond, colours cost more than they help

/** @type {(task: () => void) => void} */
const whenIdle = "requestIdleCallback" in window ? (task) => requestIdleCallback(() => task(), { timeout: 3000 }) : (task) => setTimeout(task, 200);

/** @param {HTMLElement} code */
export function finishCode(code) {
  const bar = code.closest(".code")?.querySelector(".code-bar");
  const button = h("button", { type: "button", class: "copy-code", "aria-label": "Copy code" }, icon("copy"), h("span", {}, "Copy"));
  button.addEventListener("click", async () => {
    await copyText(code.textContent ?? "");
    confirmOn(button, "Copied");
  });
  bar?.append(button);
  const named = code.dataset.language ?? "";
  const language = ALIASES[/** @type {keyof typeof ALIASES} */ (named)] ?? named;
  if (LANGUAGES.has(language) && (code.textContent ?? "").length <= LONGEST) whenIdle(() => void highlight(code, language));
}

/** @type {Promise<any> | undefined} */
let library;

/** @param {HTMLElement} code @param {string} language one of LANGUAGES */
async function highlight(code, language) {
  try {
    library ??= import("./vendor/highlight/core.min.js").then((module) => module.default);
    const [hljs, grammar] = await Promise.all([library, import(`${FOLDER}${language}.min.js`)]);
    if (!hljs.getLanguage(language)) hljs.registerLanguage(language, grammar.default);
    const text = code.textContent ?? "";
    // The tree of tokens, not the string of HTML that is made of it: what a model writes is never parsed as HTML.
    const tree = hljs.highlight(text, { language, ignoreIllegals: true })._emitter.rootNode;
    const coloured = document.createDocumentFragment();
    paint(coloured, tree.children);
    if (coloured.textContent === text) code.replaceChildren(coloured);
  } catch {
    // Colours are a nicety: without them the code stands there in one colour.
  }
}

/** @param {Node} parent @param {any[]} tokens */
function paint(parent, tokens) {
  for (const token of tokens) {
    if (typeof token === "string") {
      parent.appendChild(document.createTextNode(token));
    } else {
      const span = parent.appendChild(document.createElement("span"));
      if (token.scope) span.className = `hl-${token.scope.split(".")[0]}`;
      paint(span, token.children);
    }
  }
}
