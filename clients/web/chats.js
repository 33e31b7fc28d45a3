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
    this.kept = true; // false where the browser gives no storage, as some do in private windows
    /** @type {Map<string, Data>} */
    this.memory = new Map();
    this.tabs = new BroadcastChannel("streamlane-chats");
    this.tabs.onmessage = changed;
  }

  /** The list, the last changed first. @returns {Promise<Entry[]>} */
  async list() {
    try {
      const names = (await keys(this.database)).filter((/** @type {IDBValidKey} */ key) => String(key).startsWith(ENTRY));
      const entries = /** @type {Entry[]} */ ((await getMany(names, this.database)).filter(Boolean));
      return entries.sort((a, b) => b.updated - a.updated);
    } catch {
      this.kept = false;
      return [...this.memory.values()].map(entryOf).sort((a, b) => b.updated - a.updated);
    }
  }

  /** Open one whose answers nobody writes any more. @param {string} id @returns {Promise<Data | undefined>} */
  async load(id) {
    const data = await this.peek(id);
    return data && interruptRunning(data);
  }

  /** As it is stored: another tab may be writing an answer. @param {string} id @returns {Promise<Data | undefined>} */
  async peek(id) { return this.kept ? get(CHAT + id, this.database) : this.memory.get(id); }

  /** Store it, with what another tab has added meanwhile. @param {Data} data */
  async save(data) {
    if (!this.kept) return void this.memory.set(data.id, data);
    await update(CHAT + data.id, (/** @type {Data | undefined} */ old) => merge(old, data), this.database);
    await setMany([[ENTRY + data.id, entryOf(data)]], this.database);
    this.tabs.postMessage(data.id);
  }

  /** @param {string} id */
  async remove(id) {
    this.memory.delete(id);
    if (this.kept) await delMany([ENTRY + id, CHAT + id], this.database);
    this.tabs.postMessage(id);
  }

  async removeAll() {
    this.memory.clear();
    if (this.kept) await clear(this.database);
    this.tabs.postMessage(null);
  }

  /** @returns {Promise<Data[]>} */
  async all() {
    const entries = await this.list();
    if (!this.kept) return [...this.memory.values()];
    return (await getMany(entries.map(({ id }) => CHAT + id), this.database)).filter(Boolean);
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
}

/** @param {Data} data @returns {Entry} */
function entryOf({ id, title, updated }) {
  return { id, title, updated };
}
