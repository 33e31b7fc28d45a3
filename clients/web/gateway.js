/** The page's one connection to the gateway: the key, the models, and what state it is in. */

const AGAIN = 4000; // ms until a gateway that did not answer, or has no models, is asked again

/**
 * @typedef {"loading" | "ready" | "key" | "unreachable"} Status  "key": it wants one, or another one
 * @typedef {{id: string, owned_by?: string, context_length?: number}} Model
 */

export class Gateway {
  /**
   * @param {{connect: (options: object) => any, baseURL: string, keyring: {key?: string}, changed: () => void}} parts
   *   `changed` is called whenever status, models or connection are others than before.
   */
  constructor({ connect, baseURL, keyring, changed }) {
    this.connect = connect;
    this.baseURL = baseURL;
    this.keyring = keyring;
    this.changed = changed;
    /** @type {Status} */
    this.status = "loading";
    /** @type {Model[]} */
    this.models = [];
    this.connection = "connecting";
    /** @type {number | undefined} */
    this.retryIn = undefined;
    this.attempt = 0;
    /** @type {any} */
    this.timer = undefined;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.timer) void this.refresh();
    });
  }

  /** Connect, or connect again with another key. @param {any} [session] of the page before this one, to go on with */
  async start(session) {
    this.client?.close();
    const client = this.connect({ baseURL: this.baseURL, apiKey: this.keyring.key, session });
    this.client = client;
    client.addEventListener("state", (/** @type {any} */ event) => {
      if (client !== this.client) return;
      const { state, error, retryIn } = event.detail;
      const returned = state === "open" && this.connection === "waiting";
      this.connection = state;
      this.retryIn = retryIn;
      if (error?.code === "session_taken") return void this.start(); // by a copy of this tab; so this one begins its own
      if (state === "closed") {
        this.status = error?.status === 401 ? "key" : "unreachable";
        if (this.status === "unreachable") this.#again();
      }
      this.changed();
      if (returned) void this.refresh();
    });
    await this.refresh();
  }

  /** Ask again which models there are. @returns {Promise<void>} */
  async refresh() {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.client.state === "closed") return this.start(); // for good: only another one connects again
    const attempt = (this.attempt += 1);
    const { client } = this;
    try {
      const models = await client.models();
      if (attempt !== this.attempt) return;
      this.models = models;
      this.status = "ready";
      client.open().catch(() => {}); // its state tells
      if (models.length === 0) this.#again();
    } catch (/** @type {any} */ error) {
      if (attempt !== this.attempt) return;
      this.status = error.status === 401 ? "key" : "unreachable";
      if (this.status === "unreachable") this.#again();
    }
    this.changed();
  }

  #again() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!document.hidden) void this.refresh();
    }, AGAIN);
  }
}
