/**
 * Renders markdown as it streams in: elements are only ever added, so nothing flickers.
 *
 * Model output is hostile. It is made safe by what can be built, not by what is filtered out: the parser calls `open` with a
 * number, and only elements of the table below exist. Text becomes text nodes. The only attribute that comes from the text
 * is a link's address, and it must be http, https or mailto. Pictures become links: loading one would tell its server.
 */

import * as smd from "./vendor/smd.js";

const INLINE = {
  [smd.ITALIC_AST]: "em", [smd.ITALIC_UND]: "em", [smd.STRONG_AST]: "strong", [smd.STRONG_UND]: "strong",
  [smd.STRIKE]: "s", [smd.CODE_INLINE]: "code", [smd.LINK]: "a", [smd.RAW_URL]: "a", [smd.IMAGE]: "a",
  [smd.EQUATION_INLINE]: "code",
};
const BLOCK = {
  [smd.PARAGRAPH]: "p", [smd.BLOCKQUOTE]: "blockquote", [smd.LINE_BREAK]: "br", [smd.RULE]: "hr",
  [smd.LIST_UNORDERED]: "ul", [smd.LIST_ORDERED]: "ol", [smd.LIST_ITEM]: "li", [smd.CHECKBOX]: "input",
  [smd.TABLE_CELL]: "td", [smd.TABLE_ROW]: "tr",
};
/** @type {Record<number, keyof HTMLElementTagNameMap>} */
const ELEMENTS = /** @type {any} */ ({ ...INLINE, ...BLOCK });
const HEADINGS = [smd.HEADING_1, smd.HEADING_2, smd.HEADING_3, smd.HEADING_4, smd.HEADING_5, smd.HEADING_6];
const CODE = [smd.CODE_BLOCK, smd.CODE_FENCE, smd.EQUATION_BLOCK];
const OUTER_HEADING = 2; // a message's own heading; those of its text stand below it, without gaps
const DEEPEST = 20; // the parser keeps 24 levels; beyond, markdown stays plain text
const HOLDS_NO_TEXT = new Set(["UL", "OL", "TABLE", "TR"]);
const SAFE = new Set(["http:", "https:", "mailto:"]);

/** One text. `write` adds to it, `end` says that nothing comes any more. */
export class Markdown {
  /** @param {HTMLElement} root @param {(code: HTMLElement) => void} codeClosed called when a code block is whole */
  constructor(root, codeClosed) {
    this.root = root;
    this.codeClosed = codeClosed;
    /** @type {Node[]} */
    this.open = [root];
    this.heading = OUTER_HEADING;
    this.plain = false;
    this.tail = document.createTextNode("");
    this.parser = smd.parser({
      data: this,
      add_token: (_, token) => this.#begin(token),
      end_token: () => this.#close(),
      add_text: (_, text) => this.#text(text),
      set_attr: (_, attribute, value) => this.#attribute(/** @type {any} */ (attribute), value),
    });
  }

  /** @param {string} text */
  write(text) {
    if (this.plain) return this.#text(text);
    this.tail.remove();
    try {
      smd.parser_write(this.parser, text);
      if (this.open.length > DEEPEST) this.#giveUp();
      else this.#showHeldBack();
    } catch {
      this.#giveUp();
      this.#text(text);
    }
  }

  end() {
    this.tail.remove();
    if (!this.plain) {
      try {
        smd.parser_end(this.parser);
      } catch {
        this.plain = true;
      }
    }
    while (this.open.length > 1) this.#close();
  }

  /**
   * The parser keeps the last character until the next one tells what it means. Letters and digits mean themselves, so they
   * are shown, for as long as nothing follows: a slow model's words are whole.
   */
  #showHeldBack() {
    const { pending } = this.parser;
    if (this.open.length < 2 || HOLDS_NO_TEXT.has(this.#top.tagName) || !/^[\p{L}\p{N}]+$/u.test(pending)) return;
    this.tail.data = pending;
    this.#top.append(this.tail);
  }

  /** What comes from here on is shown as it is. */
  #giveUp() {
    this.plain = true;
    while (this.open.length > 1) this.#close();
    this.open.push(this.root.appendChild(document.createElement("p")));
  }

  get #top() { return /** @type {HTMLElement} */ (this.open[this.open.length - 1]); }

  /** @param {number} token */
  #begin(token) {
    const element = this.#element(token);
    this.open.push(element);
  }

  /** @param {number} token @returns {Node} */
  #element(token) {
    const top = this.#top;
    if (CODE.includes(token)) return codeBlock(top);
    const level = HEADINGS.indexOf(token);
    if (level >= 0) {
      this.heading = Math.min(level + OUTER_HEADING + 1, this.heading + 1, 6);
      return top.appendChild(document.createElement(`h${this.heading}`));
    }
    switch (token) {
      case smd.TABLE: {
        const frame = top.appendChild(document.createElement("div"));
        frame.className = "table";
        frame.tabIndex = 0; // wide tables scroll, and scrolling must be possible with the keyboard
        frame.setAttribute("role", "group");
        frame.setAttribute("aria-label", "Table");
        return frame.appendChild(document.createElement("table"));
      }
      case smd.TABLE_ROW: {
        const table = /** @type {HTMLTableElement} */ (top);
        const part = table.tHead ? (table.tBodies[0] ?? table.createTBody()) : table.createTHead();
        return part.insertRow();
      }
      case smd.TABLE_CELL: {
        const head = top.parentElement?.tagName === "THEAD";
        const cell = document.createElement(head ? "th" : "td");
        if (head) cell.scope = "col";
        return top.appendChild(cell);
      }
      case smd.CHECKBOX: {
        const box = document.createElement("input");
        box.type = "checkbox";
        box.disabled = true;
        box.setAttribute("aria-label", "Task");
        return top.appendChild(box);
      }
    }
    const element = document.createElement(ELEMENTS[token] ?? "span");
    if (token === smd.IMAGE) element.className = "picture";
    return top.appendChild(element);
  }

  #close() {
    const closed = /** @type {HTMLElement} */ (this.open.pop());
    if (closed.tagName === "CODE" && closed.parentElement?.tagName === "PRE") this.codeClosed(closed);
    if (closed.className === "picture" && !closed.textContent) closed.textContent = "picture";
  }

  /** @param {string} text */
  #text(text) {
    const last = this.#top.lastChild;
    if (last?.nodeType === Node.TEXT_NODE) /** @type {Text} */ (last).appendData(text);
    else this.#top.append(text);
  }

  /** @param {number} attribute @param {string} value */
  #attribute(attribute, value) {
    const top = this.#top;
    if (attribute === smd.HREF || attribute === smd.SRC) {
      const address = safeAddress(value);
      if (address === null || !(top instanceof HTMLAnchorElement)) return;
      top.href = address;
      top.target = "_blank";
      top.rel = "noopener noreferrer nofollow";
      top.title = address; // where a click would lead is never hidden
    } else if (attribute === smd.LANG) {
      nameLanguage(top, value.trim().split(/\s/)[0]);
    } else if (attribute === smd.CHECKED && top instanceof HTMLInputElement) {
      top.checked = true;
    } else if (attribute === smd.START && top instanceof HTMLOListElement) {
      top.start = Number.parseInt(value, 10) || 1;
    }
  }
}

/** The address if a link may lead there, else null. @param {string} value */
export function safeAddress(value) {
  try {
    const url = new URL(value.trim());
    return SAFE.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** A frame with a bar for the language's name and the buttons. @param {Node} parent @returns {HTMLElement} */
function codeBlock(parent) {
  const frame = document.createElement("div");
  frame.className = "code";
  const bar = frame.appendChild(document.createElement("div"));
  bar.className = "code-bar";
  bar.appendChild(document.createElement("span")).className = "code-language";
  const pre = frame.appendChild(document.createElement("pre"));
  pre.tabIndex = 0;
  parent.appendChild(frame);
  return pre.appendChild(document.createElement("code"));
}

/** @param {HTMLElement} code @param {string} language */
function nameLanguage(code, language) {
  if (!language) return;
  code.dataset.language = language.toLowerCase().slice(0, 30);
  const name = code.closest(".code")?.querySelector(".code-language");
  if (name) name.textContent = language.slice(0, 30);
}
