/** A conversation is a tree of messages with one chosen way through it. Pure: no page, no clock, no storage. */

/**
 * @typedef {"running" | "done" | "stopped" | "cut" | "filtered" | "failed" | "interrupted"} Status
 * @typedef {{first?: number, total?: number, input?: number, output?: number, estimated?: boolean}} Stats  times in ms, counts in tokens, `estimated` where the backend counted none
 * @typedef {{code: string, message: string, status?: number, retryAfter?: number}} Problem
 * @typedef {{id: string, parent: string | null, role: "user" | "assistant", text: string, at: number, reasoning?: string,
 *   thought?: number, model?: string, status?: Status, error?: Problem, stats?: Stats, response?: string, routed?: boolean,
 *   by?: string, rating?: "up" | "down"}} Message  `at` in Unix ms; `model` was asked for, and where that left it to the
 *   gateway (`routed`) `by` answered; `response` is its id there
 * @typedef {{model?: string, instructions?: string, temperature?: number, max_output_tokens?: number}} Settings
 * @typedef {{id: string, title: string, named: boolean, created: number, updated: number, settings: Settings,
 *   nodes: Record<string, Message>, chosen: Record<string, string>}} Data
 */

const ROOT = "root";
const TITLE_LENGTH = 60;
const ID = /^[a-z0-9][\w-]{0,63}$/i; // so never "__proto__"

/** One conversation. `data` is what is stored: plain, and shared with whoever stores it. */
export class Conversation {
  /** @param {Data} data */
  constructor(data) {
    this.data = data;
    /** @type {Map<string, string[]>} */
    this.children = new Map();
    for (const node of Object.values(data.nodes).sort((a, b) => a.at - b.at)) this.#link(node);
  }

  /** An empty one. @param {string} id @param {number} now @param {Settings} [settings] */
  static empty(id, now, settings = {}) {
    return new Conversation({
      id, title: "New chat", named: false, created: now, updated: now, settings, nodes: {}, chosen: {},
    });
  }

  get id() { return this.data.id; }
  get isEmpty() { return Object.keys(this.data.nodes).length === 0; }

  /** @param {string} id */
  node(id) { return this.data.nodes[id]; }

  /** The messages from the first to the last of the chosen way. @returns {Message[]} */
  path() {
    const path = [];
    for (let id = this.#chosen(ROOT); id; id = this.#chosen(id)) path.push(this.data.nodes[id]);
    return path;
  }

  /** The last message of the chosen way. */
  get leaf() { return this.path().at(-1) ?? null; }

  /** Add a message and choose it. What stood there stays as its sibling. @param {Message} node */
  add(node) {
    this.data.nodes[node.id] = node;
    this.#link(node);
    this.data.chosen[node.parent ?? ROOT] = node.id;
    this.data.updated = Math.max(this.data.updated, node.at);
    if (!this.data.named && node.role === "user" && node.parent === null) this.data.title = titleOf(node.text);
    return node;
  }

  /** Let an answer that came to nothing begin anew, in its old place. @param {string} id @param {Partial<Message>} fresh */
  reset(id, fresh) {
    const { parent, role, at } = this.data.nodes[id];
    this.data.nodes[id] = { id, parent, role, at, text: "", ...fresh };
    return this.data.nodes[id];
  }

  /** The other versions of a message, itself among them, oldest first. @param {string} id @returns {string[]} */
  siblings(id) { return this.children.get(this.data.nodes[id].parent ?? ROOT) ?? []; }

  /** Go the way that leads through this message. @param {string} id */
  choose(id) { this.data.chosen[this.data.nodes[id].parent ?? ROOT] = id; }

  /** @param {string} title */
  rename(title) {
    this.data.title = title.trim().slice(0, 200) || this.data.title;
    this.data.named = true;
  }

  /**
   * What the model is asked when it answers `parent`: every message with text from the first up to it. Neighbours of one role
   * become one message, because many models insist that the roles alternate.
   * @param {string} parent
   */
  input(parent) {
    /** @type {{role: string, content: string}[]} */
    const input = [];
    for (let node = this.data.nodes[parent]; node; node = this.data.nodes[node.parent ?? ""]) {
      if (!node.text) continue;
      if (input[0]?.role === node.role) input[0].content = `${node.text}\n\n${input[0].content}`;
      else input.unshift({ role: node.role, content: node.text });
    }
    return input;
  }

  /** Whether a word stands in title or messages. @param {string} needle lower case */
  mentions(needle) { return mentions(this.data, needle); }

  /** @param {string} at */
  #chosen(at) {
    const chosen = this.data.chosen[at];
    const isThere = Object.hasOwn(this.data.nodes, chosen) && (this.data.nodes[chosen].parent ?? ROOT) === at;
    return isThere ? chosen : this.children.get(at)?.at(-1);
  }

  /** @param {Message} node */
  #link(node) {
    const parent = node.parent ?? ROOT;
    const siblings = this.children.get(parent);
    if (siblings) siblings.push(node.id);
    else this.children.set(parent, [node.id]);
  }
}

/** @param {Data} data @param {string} needle lower case */
export function mentions(data, needle) {
  return data.title.toLowerCase().includes(needle)
    || Object.values(data.nodes).some((node) => node.text.toLowerCase().includes(needle));
}

/** The first words of a prompt. @param {string} text */
export function titleOf(text) {
  const line = text.trim().split("\n")[0].replace(/\s+/g, " ");
  if (line.length <= TITLE_LENGTH) return line || "New chat";
  return `${line.slice(0, TITLE_LENGTH).replace(/\s+\S*$/, "")}…`;
}

/**
 * Two states of one conversation (two tabs, or an import) become one that has every message of both. Of a message that both
 * have, the further one stays; the rest is taken from `mine`.
 * @param {Data | undefined} theirs @param {Data} mine @returns {Data}
 */
export function merge(theirs, mine) {
  if (!theirs) return mine;
  const nodes = { ...theirs.nodes };
  for (const [id, node] of Object.entries(mine.nodes)) {
    const other = nodes[id];
    if (!other || !isFurther(other, node)) nodes[id] = node;
  }
  const { title, named } = theirs.named && !mine.named ? theirs : mine; // a name that a person gave
  return { ...mine, title, named, nodes, chosen: { ...theirs.chosen, ...mine.chosen } };
}

/**
 * Go on with an answer of the page before this one: from where that left it, which is where the next event belongs, and not
 * from what was stored since.
 * @param {Data | undefined} stored @param {Data} left @param {string} id of the answer
 * @returns {Conversation | null} Null when it has ended.
 */
export function goneOn(stored, left, id) {
  const data = merge(stored, left);
  if (hasEnded(data.nodes[id])) return null;
  data.nodes[id] = left.nodes[id];
  return new Conversation(data);
}

/**
 * What another tab has stored, with our own objects for the messages that it has not changed: their views may stay.
 * @param {Data} theirs @param {Data} mine @returns {Data | null} Null when no message is another, and the name is the same.
 */
export function adopted(theirs, mine) {
  const nodes = { ...theirs.nodes };
  for (const [id, node] of Object.entries(mine.nodes)) if (JSON.stringify(nodes[id]) === JSON.stringify(node)) nodes[id] = node;
  const ids = Object.keys(nodes);
  const isSame = ids.length === Object.keys(mine.nodes).length && ids.every((id) => nodes[id] === mine.nodes[id]);
  if (!isSame) return { ...theirs, nodes };
  return theirs.title === mine.title ? null : { ...mine, title: theirs.title, named: theirs.named };
}

/** @param {Message} a @param {Message} b */
function isFurther(a, b) {
  return hasEnded(a) !== hasEnded(b) ? hasEnded(a) : a.text.length > b.text.length;
}

/** @param {Message} message */
function hasEnded({ status, text }) {
  return status !== "running" && status !== "interrupted" && !(status === "failed" && !text); // a retry begins in its place
}

/** Answers that nobody writes any more, because their page is gone. @param {Data} data */
export function interruptRunning(data) {
  for (const node of Object.values(data.nodes)) if (node.status === "running") node.status = "interrupted";
  return data;
}

/**
 * Check what somebody imports: only what we know is taken over, and nothing that would break the tree.
 * @param {any} found @returns {Data} Throws TypeError with words for a person.
 */
export function checked(found) {
  if (!ID.test(found?.id) || typeof found.nodes !== "object" || found.nodes === null)
    throw new TypeError("This is not a conversation that was exported here.");
  /** @type {Record<string, Message>} */
  const nodes = {};
  for (const [id, node] of Object.entries(found.nodes)) {
    if (!ID.test(id) || id === ROOT || typeof node?.text !== "string" || !["user", "assistant"].includes(node.role)) continue;
    const { parent = null, role, text, at } = node;
    const thought = Number.isFinite(node.thought) ? node.thought : undefined;
    const stats = node.stats && Object.fromEntries(Object.entries(node.stats).filter(([, value]) => Number.isFinite(value) || value === true));
    const error = node.error && { ...node.error, code: String(node.error.code), message: String(node.error.message) };
    const words = Object.fromEntries(["reasoning", "model", "status", "by"].map((name) => [name, node[name] && String(node[name])]));
    nodes[id] = clean({ id, parent, role, text, at: Number(at) || 0, ...words, thought, error: error ?? undefined, stats: stats ?? undefined });
  }
  for (const node of Object.values(nodes)) {
    const seen = new Set();
    for (let at = node; at.parent !== null; at = nodes[at.parent]) {
      if (seen.has(at.id) || !nodes[at.parent]) throw new TypeError("A message of this conversation has no place in it.");
      seen.add(at.id);
    }
  }
  const { title = "Imported chat", named = true, created = 0, updated = 0, settings = {}, chosen = {} } = found;
  return {
    id: found.id, title: String(title).slice(0, 200), named: Boolean(named), created: Number(created) || 0,
    updated: Number(updated) || 0, settings: { ...settings }, nodes, chosen: { ...chosen },
  };
}

/** Without the members that are undefined. @template {object} T @param {T} value @returns {T} */
function clean(value) {
  return /** @type {T} */ (Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)));
}
