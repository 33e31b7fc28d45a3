/** Keeps conversations in this browser's IndexedDB, and nowhere else. Other tabs hear of changes. */

import { createStore, delMany, clear, get, getMany, keys, setMany, update } from "./vendor/idb-keyval.js";
import { checked, interruptRunning, mentions, merge } from "./tree.js";

/**
 * @typedef {import("./tree.js").Data} Data
 * @typedef {{id: string, title: string, updated: number}} Entry  one line of the list
 */

const ENTRY = "entry/";
const CHAT = "chat/";
const FORMAT = "streamlane-chats";

export class Chats {
  /** @param {() => void} changed another tab has changed something */
  constructor(changed) {
    this.database = createStore("streamlane", "chats");
    this.kept = true; // false where the browser does not store: blocked, as in some private windows, or full
    /** @type {Map<string, Data>} */
    this.memory = new Map(); // what could not be stored
    try {
      this.tabs = new BroadcastChannel("streamlane-chats");
      this.tabs.onmessage = changed;
    } catch {
      // Firefox has none where it stores nothing. Then there is nothing to tell other tabs of either.
    }
  }

  /** The list, the last changed first. @returns {Promise<Entry[]>} */
  async list() {
    const stored = await this.#ask(async () => {
      const names = (await keys(this.database)).filter((/** @type {IDBValidKey} */ key) => String(key).startsWith(ENTRY));
      return /** @type {Entry[]} */ ((await getMany(names, this.database)).filter(Boolean));
    });
    const entries = new Map([...(stored ?? []), ...[...this.memory.values()].map(entryOf)].map((entry) => [entry.id, entry]));
    return [...entries.values()].sort((a, b) => b.updated - a.updated);
  }

  /** Open one whose answers nobody writes any more. @param {string} id @returns {Promise<Data | undefined>} */
  async load(id) {
    const data = await this.peek(id);
    return data && interruptRunning(data);
  }

  /** As it is stored: another tab may be writing an answer. @param {string} id @returns {Promise<Data | undefined>} */
  async peek(id) { return this.memory.get(id) ?? this.#ask(() => get(CHAT + id, this.database)); }

  /** Store it, with what another tab has added meanwhile; else it lasts as long as this page. @param {Data} data */
  async save(data) {
    const isStored = await this.#ask(async () => {
      await update(CHAT + data.id, (/** @type {Data | undefined} */ old) => merge(old, data), this.database);
      await setMany([[ENTRY + data.id, entryOf(data)]], this.database);
      return true;
    });
    if (!isStored) return void this.memory.set(data.id, merge(this.memory.get(data.id), data));
    this.memory.delete(data.id);
    this.kept = this.memory.size === 0;
    this.tabs?.postMessage(data.id);
  }

  /** @param {string} id */
  async remove(id) {
    this.memory.delete(id);
    await this.#ask(() => delMany([ENTRY + id, CHAT + id], this.database));
    this.tabs?.postMessage(id);
  }

  async removeAll() {
    this.memory.clear();
    await this.#ask(() => clear(this.database));
    this.tabs?.postMessage(null);
  }

  /** @returns {Promise<Data[]>} */
  async all() {
    const ids = (await this.list()).map(({ id }) => id);
    const stored = await this.#ask(() => getMany(ids.map((id) => CHAT + id), this.database));
    return ids.map((id, index) => this.memory.get(id) ?? stored?.[index]).filter((data) => data !== undefined);
  }

  /** The ids of those in which a text stands. @param {string} text */
  async search(text) {
    const needle = text.trim().toLowerCase();
    return new Set((await this.all()).filter((data) => mentions(data, needle)).map(({ id }) => id));
  }

  /** Everything, as text that `import` takes back. */
  async export() { return this.exportOf(await this.all()); }

  /** @param {Data[]} chats */
  exportOf(chats) { return JSON.stringify({ format: FORMAT, version: 1, chats }, null, 1); }

  /** Add what was exported; what is here already is not overwritten. @param {string} text @returns {Promise<number>} how many */
  async import(text) {
    let found;
    try {
      found = JSON.parse(text);
    } catch {
      throw new TypeError("This file is not JSON. Choose a file that was exported here.");
    }
    if (found?.format !== FORMAT || !Array.isArray(found.chats)) throw new TypeError("This file holds no chats that were exported here.");
    const chats = found.chats.map(checked);
    for (const data of chats) await this.save(interruptRunning(data));
    return chats.length;
  }

  /** What the database says; nothing, and `kept` is false, where it refuses. @template T @param {() => Promise<T>} request */
  async #ask(request) {
    try {
      return await request();
    } catch {
      this.kept = false;
    }
  }
}

/** @param {Data} data @returns {Entry} */
function entryOf({ id, title, updated }) {
  return { id, title, updated };
}
