/** Joins the page's parts: what a person does becomes a change of the conversation, and changes become what is shown. */

import { Announcer, spoken } from "./announcer.js";
import { Answers } from "./answers.js";
import { showConnection } from "./badge.js";
import { Chats } from "./chats.js";
import { Composer } from "./composer.js";
import * as dialogs from "./dialogs.js";
import { byId, h, icon } from "./dom.js";
import { saveFile, pickFile } from "./files.js";
import { Gateway } from "./gateway.js";
import { handover } from "./handover.js";
import { keyring } from "./keyring.js";
import { listen } from "./keys.js";
import { openMenu } from "./menu.js";
import { requestFor } from "./progress.js";
import { QuotaMeter } from "./quota_meter.js";
import { Ratings } from "./ratings.js";
import { Sidebar } from "./sidebar.js";
import { ofDevice } from "./storage.js";
import { themeButton } from "./theme_button.js";
import { ThreadView } from "./thread_view.js";
import { Toast } from "./toast.js";
import { adopted, Conversation, goneOn } from "./tree.js";
import { welcome } from "./welcome.js";
import { waitWords, wordsFor } from "./words.js";

/** @typedef {import("./tree.js").Message} Message */

const LAST_MODEL = "streamlane-model";
const CONTINUE = "Continue exactly where you stopped.";
// crypto.randomUUID exists on HTTPS and localhost only; the page also works over plain HTTP in a local network.
const newId = () => `c${[...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;

export class App {
  /** @param {{connect: (options: object) => any, baseURL: string}} parts */
  constructor({ connect, baseURL }) {
    this.announcer = new Announcer(byId("announcer"));
    this.toast = new Toast(byId("toast"));
    this.chats = new Chats(() => void this.#othersChanged());
    this.gateway = new Gateway({ connect, baseURL, keyring, changed: () => this.#showGateway() });
    this.answers = new Answers({
      grew: (_, node) => this.thread.grew(node.id),
      route: (_, node, event) => this.thread.views.get(node.id)?.say(waitWords(event)),
      quota: (event) => this.meter.take(event.pools),
      ended: (conversation, node) => this.#ended(conversation, node),
      save: (conversation) => this.#save(conversation),
    }, () => performance.now());
    this.meter = new QuotaMeter(this.gateway);
    this.composer = new Composer({
      send: (text) => this.send(text),
      stop: () => this.stop(),
      editLast: () => void this.thread.editLast(),
      model: (id) => this.#chooseModel(id),
    });
    this.sidebar = new Sidebar({
      rename: (id, title) => void this.#rename(id, title),
      remove: (entry) => void this.#remove(entry),
      download: (id) => void this.#download(id),
      search: (text) => this.chats.search(text),
    });
    this.thread = new ThreadView({
      scroller: byId("scroller"), list: byId("thread"), jump: byId("jump"),
      actions: {
        turn: (node, by) => this.#turn(node, by),
        edit: (node, text) => this.#edit(node, text),
        regenerate: (node) => this.#regenerate(node, node.model),
        chooseModel: (node, anchor) => openMenu(anchor, "Models", this.gateway.models.map(({ id }) => ({ label: id, action: () => this.#regenerate(node, id) }))),
        rate: (node, rating, button) => void this.ratings.rate(node, rating, button),
        continue: () => void this.send(CONTINUE),
        signIn: () => dialogs.open("sign-in"),
        newChat: () => this.newChat(),
      },
    });
    this.ratings = new Ratings({ client: () => this.gateway.client, toast: this.toast, thread: this.thread, save: () => void this.#save(this.current) });
    this.current = Conversation.empty(newId(), Date.now());
    this.connection = ""; // as it was shown last
  }

  async start() {
    themeButton(byId("theme"));
    dialogs.closeOnBackdrop();
    dialogs.setUpSignIn((key, remember) => this.#signIn(key, remember));
    byId("open-settings").addEventListener("click", () => this.#settings());
    byId("open-help").addEventListener("click", () => dialogs.open("help"));
    byId("export").addEventListener("click", async () => saveFile("streamlane-chats.json", await this.chats.export()));
    byId("import").addEventListener("click", () => pickFile(byId("import-file"), (text) => this.#import(text)));
    byId("delete-all").addEventListener("click", () => void this.#removeAll());
    byId("sign-out").addEventListener("click", () => this.#signOut());
    byId("new-chat").addEventListener("click", (event) => {
      event.preventDefault();
      this.newChat();
    });
    listen({
      stop: () => this.sidebar.closeDrawer() || (this.#isRunning && (this.stop(), true)),
      newChat: () => this.newChat(),
      toggleList: () => this.sidebar.setOpen(!this.sidebar.isOpen),
      focusPrompt: () => this.composer.text.focus(),
    });
    addEventListener("hashchange", () => void this.#openFromAddress());
    this.composer.useDraft("new");
    const left = handover.left();
    const connected = this.gateway.start(left?.session);
    if (left) await this.#goOn(left);
    handover.watch(() => this.#leave()); // not before: a page that is reloaded at once leaves what it found
    addEventListener("pagehide", () => this.answers.running.forEach(({ conversation }) => void this.#save(conversation)));
    await this.#openFromAddress();
    await this.#list();
    await connected;
    void this.meter.refresh();
    this.composer.focus();
  }

  get #isRunning() { return this.answers.get(this.current.id) !== undefined; }

  get #model() {
    const { models } = this.gateway;
    const wanted = this.current.data.settings.model ?? ofDevice.get(LAST_MODEL);
    return models.find(({ id }) => id === wanted)?.id ?? models[0]?.id;
  }

  // What a person does.

  /** @param {string} text @returns {boolean} whether it was taken */
  send(text) {
    const model = this.#model;
    if (this.#isRunning || !model) return false;
    const began = this.current.isEmpty;
    const parent = this.current.leaf?.id ?? null;
    const question = this.current.add({ id: newId(), parent, role: "user", text, at: Date.now() });
    if (began) history.replaceState(null, "", `#${this.current.id}`);
    this.#ask(question, model);
    if (began) this.composer.useDraft(this.current.id);
    return true;
  }

  stop() {
    this.answers.stop(this.current.id);
  }

  newChat() {
    this.sidebar.chosen();
    if (location.hash !== "#new") history.pushState(null, "", "#new");
    this.#show(Conversation.empty(newId(), Date.now()));
    this.composer.focus();
  }

  /** @param {Message} question @param {string} model @param {Message} [failed] an answer that came to nothing: its place is used again */
  #ask(question, model, failed) {
    const { current } = this;
    const fresh = { model, status: /** @type {const} */ ("running") };
    const node = failed
      ? current.reset(failed.id, fresh)
      : current.add({ id: newId(), parent: question.id, role: "assistant", text: "", at: Date.now(), ...fresh });
    current.data.updated = Date.now();
    this.#refresh();
    if (current.leaf === node) this.thread.toEnd();
    else this.thread.pinned = false; // the reader stays at the answer that begins anew in the middle
    this.announcer.say("Answering…");
    void this.answers.start(this.gateway.client, current, node, requestFor(current, question.id, model));
    this.#save(current);
    this.#refresh();
  }

  /** @param {Message} node @param {string} [model] */
  #regenerate(node, model) {
    const known = this.gateway.models.some(({ id }) => id === model) ? model : this.#model;
    if (this.#isRunning || !known || !node.parent) return;
    const nothing = node.status === "failed" && !node.text;
    this.#ask(this.current.node(node.parent), known, nothing ? node : undefined);
    this.composer.focus();
  }

  /** @param {Message} node @param {string} text */
  #edit(node, text) {
    const model = this.#model;
    if (this.#isRunning || !model) return void this.toast.show("Wait until the answer has ended, or stop it.");
    this.#ask(this.current.add({ id: newId(), parent: node.parent, role: "user", text, at: Date.now() }), model);
    this.composer.focus();
  }

  /** @param {Message} node @param {number} by */
  #turn(node, by) {
    const siblings = this.current.siblings(node.id);
    const to = siblings[siblings.indexOf(node.id) + by];
    if (!to) return;
    this.current.choose(to);
    this.thread.pinned = false; // the reader stays at the message that was turned
    this.#refresh();
    this.#save(this.current);
    const view = this.thread.views.get(to);
    view?.element.scrollIntoView({ block: "nearest" });
    const buttons = [.../** @type {NodeListOf<HTMLButtonElement>} */ (view?.element.querySelectorAll(".versions button") ?? [])];
    const [back, on] = buttons;
    (by < 0 ? (back?.disabled ? on : back) : (on?.disabled ? back : on))?.focus();
  }

  /** @param {string} id */
  #chooseModel(id) {
    this.current.data.settings.model = id;
    ofDevice.set(LAST_MODEL, id);
    if (!this.current.isEmpty) this.#save(this.current);
    this.#refresh();
  }

  #settings() {
    const { id } = this.current;
    dialogs.editSettings(this.current.data.settings, (settings) => {
      if (id !== this.current.id) return; // it was deleted meanwhile, with all others
      this.current.data.settings = settings;
      if (!this.current.isEmpty) this.#save(this.current);
    });
  }

  /** @param {string} id @param {string} title */
  async #rename(id, title) {
    const conversation = await this.#load(id);
    if (!conversation) return;
    conversation.rename(title);
    await this.#save(conversation);
    this.#refresh();
  }

  /** @param {{id: string, title: string}} entry */
  async #remove({ id, title }) {
    this.answers.drop(id);
    const data = (await this.#load(id))?.data;
    await this.chats.remove(id);
    if (id === this.current.id) this.newChat();
    await this.#list();
    this.toast.show(`Deleted “${title}”.`, data && { label: "Undo", action: async () => {
      await this.chats.save(data);
      await this.#list();
      location.hash = id;
    } });
  }

  async #removeAll() {
    if (!(await dialogs.confirmDeleteAll())) return;
    for (const id of [...this.answers.running.keys()]) this.answers.drop(id);
    await this.chats.removeAll();
    /** @type {HTMLDialogElement} */ (byId("settings")).close();
    this.newChat();
    await this.#list();
    this.toast.show("All chats are deleted.");
  }

  /** @param {string} id */
  async #download(id) {
    const conversation = await this.#load(id);
    if (conversation) saveFile("streamlane-chat.json", this.chats.exportOf([conversation.data]));
  }

  /** @param {string} text */
  async #import(text) {
    try {
      const count = await this.chats.import(text);
      this.toast.show(`${count} ${count === 1 ? "chat is" : "chats are"} imported.`);
    } catch (/** @type {any} */ error) {
      this.toast.show(error.message);
    }
    await this.#list();
  }

  // Keys.

  /** @param {string} key @param {boolean} remember */
  async #signIn(key, remember) {
    keyring.keep(key, remember);
    await this.gateway.start();
    if (this.gateway.status === "key") {
      keyring.forget();
      return "This key was not accepted. Check that it is complete.";
    }
    void this.meter.refresh();
    return this.gateway.status === "unreachable" ? "The gateway does not answer. Try again in a moment." : null;
  }

  #signOut() {
    keyring.forget();
    /** @type {HTMLDialogElement} */ (byId("settings")).close();
    void this.gateway.start();
  }

  /** With what the page before this one was writing. @param {import("./handover.js").Left} left */
  async #goOn({ left, open }) {
    const { answers } = this.gateway.client; // now: those that end meanwhile leave it
    const stored = await Promise.all(open.map(({ data }) => this.chats.peek(data.id)));
    for (const [index, { data, node, key, elapsed }] of open.entries()) {
      const answer = answers.find((/** @type {any} */ each) => each.key === key);
      const conversation = goneOn(stored[index], data, node);
      if (answer && conversation) void this.answers.resume(conversation, conversation.node(node), answer, elapsed + Date.now() - left);
    }
  }

  #leave() { handover.leave(this.gateway.client, this.answers.open()); }

  // What is shown.

  async #openFromAddress() {
    const id = location.hash.slice(1);
    if (id === this.current.id) return;
    const conversation = id && id !== "new" ? await this.#load(id) : null;
    this.#show(conversation ?? Conversation.empty(newId(), Date.now()));
    this.sidebar.chosen();
  }

  /** @param {string} id */
  async #load(id) {
    const known = this.answers.get(id)?.conversation ?? (id === this.current.id ? this.current : null);
    if (known) return known;
    const data = await this.chats.load(id);
    return data ? new Conversation(data) : null;
  }

  /** @param {Conversation} conversation */
  #show(conversation) {
    this.current = conversation;
    this.composer.useDraft(conversation.isEmpty ? "new" : conversation.id);
    this.#refresh();
  }

  /** Everything that hangs on the current conversation. */
  #refresh() {
    const { current, gateway } = this;
    const running = this.#isRunning;
    byId("title").textContent = current.data.title;
    document.title = current.isEmpty ? "Streamlane" : `${current.data.title} – Streamlane`;
    this.thread.show(current);
    const empty = byId("empty");
    empty.hidden = !current.isEmpty;
    if (current.isEmpty)
      empty.replaceChildren(...welcome({
        status: gateway.status, models: gateway.models, model: this.#model,
        ask: (text) => this.composer.set(text), again: () => void gateway.refresh(),
      }));
    this.composer.update(running, gateway.status === "ready" && gateway.models.length > 0);
    this.composer.offer(gateway.models, this.#model);
    this.sidebar.update({ current: current.id, running: new Set(this.answers.running.keys()), now: Date.now() });
  }

  #showGateway() {
    const { gateway } = this;
    const node = this.answers.get(this.current.id)?.node;
    if (node && !node.text && gateway.connection !== this.connection)
      this.thread.views.get(node.id)?.say(gateway.connection === "open" ? "Sending…" : "Waiting for the connection…");
    this.connection = gateway.connection;
    showConnection(gateway);
    byId("sign-out").hidden = keyring.key === undefined;
    if (gateway.status === "key") dialogs.open("sign-in");
    const notice = byId("notice");
    notice.hidden = this.current.isEmpty || gateway.status !== "unreachable";
    if (!notice.hidden)
      notice.replaceChildren("The gateway does not answer. You can read on; this page asks again by itself. ",
        h("button", { type: "button", class: "button", onclick: () => void gateway.refresh() }, icon("regenerate"), "Ask now"));
    this.#refresh();
  }

  /** @param {Conversation} conversation @param {Message} node */
  #ended(conversation, node) {
    const here = conversation.id === this.current.id;
    if (here) this.thread.changed(node.id);
    void (node.error?.status === 401 ? this.gateway : this.meter).refresh();
    const where = here ? "" : `In ${conversation.data.title}: `;
    const problem = node.error && wordsFor(node.error);
    const view = this.thread.views.get(node.id);
    const text = here ? view && spoken(view.body) : "The answer is there.";
    this.announcer.say(where + (problem ? `${problem.title} ${problem.advice}` : text || "The answer is empty."));
    this.#refresh();
  }

  // What is kept.

  /** @param {Conversation} conversation */
  async #save(conversation) {
    if (document.hidden) this.#leave(); // what was left before is older than what is stored now
    await this.chats.save(conversation.data);
    await this.#list();
  }

  async #list() {
    const entries = await this.chats.list();
    const notice = byId("not-kept");
    if (notice.hidden && !this.chats.kept) this.toast.show(notice.textContent ?? "");
    notice.hidden = this.chats.kept;
    this.sidebar.update({ entries, now: Date.now() });
  }

  /** Another tab has written: show its list, and its messages if nothing is written here. */
  async #othersChanged() {
    await this.#list();
    if (this.#isRunning || this.current.isEmpty || document.querySelector(".edit-form")) return;
    const data = await this.chats.peek(this.current.id);
    if (data?.id !== this.current.id || this.#isRunning) return;
    const changed = adopted(data, this.current.data);
    if (!changed) return;
    this.current = new Conversation(changed);
    this.#refresh();
  }
}
