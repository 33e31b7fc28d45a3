/**
 * Streamlane's client for browsers and Node: many answers at once on one WebSocket, which comes back by itself.
 *
 *     import { connect } from "./streamlane.js";
 *     const client = connect({ baseURL: "http://127.0.0.1:8765/v1" });
 *     const answer = client.create({ model: "smollm2", input: "What is the capital of France?" });
 *     for await (const event of answer) {
 *       if (event.type === "response.output_text.delta") console.log(event.delta);
 *     }
 *
 * @module
 */

/**
 * What one request asks: the members of `response.create`. Its lane is the client's business.
 * @typedef {{model: string, input?: string | object[], instructions?: string, max_output_tokens?: number,
 *   temperature?: number, [member: string]: unknown}} Create
 */
/**
 * An event as it came: `type` says which one.
 * @typedef {{type: string, sequence_number?: number, stream_id?: string, [member: string]: any}} ResponseEvent
 */
/**
 * A response as the last event of its answer holds it. `id` is null when it was cancelled before it was sent.
 * @typedef {{id: string | null, object: "response", status: "completed" | "incomplete" | "cancelled" | "failed",
 *   model: string, output: any[], usage: any, incomplete_details: {reason: string} | null,
 *   [member: string]: any}} FinalResponse
 */
/**
 * "waiting": there is no connection; it is tried again after a pause, or was not needed yet. "closed" is for good.
 * @typedef {"connecting" | "open" | "waiting" | "closed"} State
 */
/**
 * What a "state" event says in its `detail`. `retryIn` is in seconds.
 * @typedef {{state: State, error?: StreamlaneError, retryIn?: number}} StateDetail
 */
/**
 * @typedef {object} Options
 * @property {string | URL} [baseURL] Such as "http://127.0.0.1:8765/v1". In a page: by default /v1 where it came from.
 * @property {string} [apiKey] Changed for a ticket before each connection; it never stands in a URL.
 * @property {new (url: string) => any} [WebSocket] For a Node that has none: the class of the package `ws`.
 * @property {typeof fetch} [fetch] Instead of the global one.
 */
/**
 * One create, from when it was asked for to its end.
 * @typedef {{answer: Answer, fields: Create, lane: string | null, cancelled: boolean}} Task
 */

const LANES = 16; // answers at once, which is what a gateway runs on one connection
const PAUSE = 0.5; // seconds: the first pause is anything up to it, and it doubles with each failure
const LONGEST_PAUSE = 30; // seconds
const PATIENCE = 20_000; // milliseconds for a handshake, or for the answer to a request
const STABLE = 5_000; // milliseconds open after which a loss counts as the first one
/** @type {Record<number, string>} */
const CLOSED = {
  1009: "The gateway closed the connection: the request is larger than it takes (limits.max_frame_bytes).", // RFC 6455, 7.4.1
  1012: "The gateway restarts. Ask again in a moment.", // IANA's registry of close codes: Service Restart
};
const TERMINAL = new Set(["response.completed", "response.incomplete", "response.failed", "error"]);
const TRY_AGAIN = new Set([408, 425, 429]); // the only refusals below 500 that time can heal

/** @type {(answer: Answer, event: ResponseEvent) => void} */
let give;
/** @type {(answer: Answer, error: Error) => void} */
let fail;

/** Why there is no answer. `code` is the gateway's, or "connection_lost", "connection_failed" or "client_closed". */
export class StreamlaneError extends Error {
  /**
   * @param {string} message
   * @param {{code?: string | null, status?: number | null, param?: string | null, retryAfter?: number | null,
   *   cause?: unknown}} [details]
   */
  constructor(message, { code = null, status = null, param = null, retryAfter = null, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "StreamlaneError";
    this.code = code;
    /** The HTTP status that goes with it; null where there is none. */
    this.status = status;
    /** The member of the request that was wrong. */
    this.param = param;
    /** Seconds after which another try makes sense, where the gateway said so. */
    this.retryAfter = retryAfter;
  }
}

/** An answer that is on its way: iterate over its events, once, or wait for `done` or `text()`. */
export class Answer {
  /** @type {ResponseEvent[]} */
  #events = [];
  #ended = false;
  /** @type {Error | undefined} */
  #error;
  #wake = () => {};
  /** @type {() => void} */
  #cancel;
  /** @type {(response: FinalResponse) => void} */
  #resolve = () => {};
  /** @type {(error: Error) => void} */
  #reject = () => {};

  static {
    give = (answer, event) => answer.#give(event);
    fail = (answer, error) => answer.#fail(error);
  }

  /** @param {() => void} cancel */
  constructor(cancel) {
    this.#cancel = cancel;
    /** The response's id; null before `response.created`. @type {string | null} */
    this.id = null;
    /** The response when it has ended; cut or cancelled ones too. @type {Promise<FinalResponse>} */
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.done.catch(() => {}); // who iterates sees the error there
  }

  /** Stop it. It still ends with its last event, `response.incomplete`, and keeps the text that was said. */
  cancel() {
    if (!this.#ended) this.#cancel();
  }

  /** The whole text, when it has ended. @returns {Promise<string>} */
  async text() {
    const { output } = await this.done;
    const parts = output.flatMap((item) => (item.type === "message" ? item.content : []));
    return parts.map((part) => (part.type === "output_text" ? part.text : "")).join("");
  }

  /**
   * The events as they come. Leaving the loop early cancels the response.
   * @returns {AsyncGenerator<ResponseEvent, void, void>}
   */
  async *[Symbol.asyncIterator]() {
    try {
      for (;;) {
        const event = this.#events.shift();
        if (event) yield event;
        else if (this.#ended) break;
        else await new Promise((resolve) => (this.#wake = () => resolve(undefined)));
      }
      if (this.#error) throw this.#error;
    } finally {
      this.cancel();
    }
  }

  /** @param {ResponseEvent} event */
  #give(event) {
    if (event.type === "error") return this.#fail(refusal(event.error, event.status));
    if (event.type === "response.created") this.id = event.response.id;
    this.#events.push(event);
    if (event.type === "response.failed") return this.#fail(refusal(event.response.error));
    if (TERMINAL.has(event.type)) {
      this.#ended = true;
      this.#resolve(event.response);
    }
    this.#wake();
  }

  /** @param {Error} error */
  #fail(error) {
    this.#ended = true;
    this.#error = error;
    this.#reject(error);
    this.#wake();
  }
}

/** One connection to a gateway. Dispatches a "state" event at each change, whose `detail` is a StateDetail. */
export class Client extends EventTarget {
  /** @type {State} */
  #state = "waiting";
  /** @type {Task[]} */
  #waiting = [];
  /** @type {Map<string, Task>} */
  #running = new Map(); // by lane, in the order in which they were sent
  #lanes = lanes();
  /** @type {WebSocket | undefined} */
  #socket;
  /** @type {object | undefined} */
  #attempt; // what is under way to connect; who is no longer the newest gives up
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #closing = new AbortController();
  /** @type {StreamlaneError | undefined} */
  #error;
  /** @type {string} */
  #base;
  /** @type {string | undefined} */
  #apiKey;
  /** @type {new (url: string) => WebSocket} */
  #WebSocket;
  /** @type {typeof fetch} */
  #fetch;
  /** @type {boolean} */
  #nearby; // a gateway on this machine is reached also where there is no network

  /** @param {Options} [options] */
  constructor({ baseURL, apiKey, WebSocket: Socket, fetch: request } = {}) {
    super();
    const here = globalThis.location?.href;
    if (!baseURL && !here) throw new TypeError('connect() needs a baseURL here, such as "http://127.0.0.1:8765/v1".');
    const url = new URL(baseURL ?? "/v1", here);
    if (!/^(https?|wss?):$/.test(url.protocol))
      throw new TypeError(`baseURL must begin with http://, https://, ws:// or wss://; it begins with "${url.protocol}".`);
    this.#base = `${url.origin}${url.pathname}`.replace(/^ws/, "http").replace(/\/+$/, "");
    this.#nearby = /^(localhost|127\.[\d.]+|\[::1\])$/.test(url.hostname);
    this.#apiKey = apiKey;
    this.#WebSocket = Socket ?? globalThis.WebSocket;
    this.#fetch = request ?? globalThis.fetch.bind(globalThis);
    if (!this.#WebSocket) throw new TypeError("There is no WebSocket here. Pass one: connect({ WebSocket }).");
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** Connect now, not at the first create. Rejects when the gateway refuses; waits as long as it cannot be reached. */
  open() {
    this.#start();
    const opened = new Promise((/** @type {(value: void) => void} */ resolve, reject) => {
      const look = () => {
        if (this.#state !== "open" && this.#state !== "closed") return;
        this.removeEventListener("state", look);
        if (this.#state === "open") resolve();
        else reject(this.#error);
      };
      this.addEventListener("state", look);
      look();
    });
    opened.catch(() => {}); // who does not wait for it sees the state
    return opened;
  }

  /**
   * Ask. While there is no connection it waits for one; so it does while 16 answers are on their way.
   * @param {Create} create
   * @param {{signal?: AbortSignal}} [options] Aborting the signal cancels the answer.
   * @returns {Answer}
   */
  create(create, { signal } = {}) {
    const answer = new Answer(() => this.#cancel(task));
    /** @type {Task} */
    const task = { answer, fields: { ...create }, lane: null, cancelled: false };
    if (this.#error) {
      fail(answer, this.#error);
      return answer;
    }
    this.#waiting.push(task);
    if (signal) {
      const abort = () => answer.cancel();
      const leave = () => signal.removeEventListener("abort", abort);
      signal.addEventListener("abort", abort);
      answer.done.then(leave, leave);
      if (signal.aborted) abort();
    }
    this.#start();
    this.#send();
    return answer;
  }

  /** What can be asked: the entries of GET /v1/models. @returns {Promise<Array<{id: string, [member: string]: any}>>} */
  async models() {
    return (await this.#request("GET", "/models")).data;
  }

  /** Leave for good. Answers on their way are stopped, and fail with the code "client_closed". */
  close() {
    if (!this.#error) this.#end(new StreamlaneError("The client was closed.", { code: "client_closed" }));
  }

  #start() {
    if (this.#attempt || this.#error) return;
    const hurry = () => {
      if (this.#state === "waiting") this.#retry();
    };
    const { signal } = this.#closing;
    globalThis.addEventListener?.("online", hurry, { signal });
    globalThis.document?.addEventListener("visibilitychange", hurry, { signal });
    this.#connect();
  }

  async #connect() {
    const attempt = (this.#attempt = {});
    this.#become("connecting");
    let url = `${this.#base.replace(/^http/, "ws")}/responses?sl_ext=1`;
    /** @type {WebSocket} */
    let socket;
    try {
      // A socket that is refused tells nobody why. A request for a ticket does, so after a failure one is made.
      if (this.#apiKey || this.#failures) {
        const { ticket } = await this.#request("POST", "/ws-tickets");
        url += `&ticket=${encodeURIComponent(ticket)}`;
      }
      if (this.#attempt !== attempt) return;
      socket = this.#socket = new this.#WebSocket(url);
    } catch (error) {
      if (this.#attempt !== attempt) return;
      if (error instanceof StreamlaneError) return this.#failed(error);
      // The constructor refuses what no time heals, such as ws: from a page that came over https:.
      const message = `No connection to ${this.#base}/responses can be made from here (${/** @type {Error} */ (error).name}).`;
      return this.#end(new StreamlaneError(message, { code: "connection_failed", cause: error }));
    }
    const patience = setTimeout(() => socket.close(), PATIENCE);
    let since = Infinity;
    socket.onopen = () => {
      clearTimeout(patience);
      since = performance.now();
      this.#become("open");
      this.#send();
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onerror = () => {}; // "close" follows, and is told alike everywhere
    socket.onclose = ({ code, reason }) => {
      clearTimeout(patience);
      if (this.#attempt !== attempt) return;
      if (performance.now() - since > STABLE) this.#failures = -1; // then this one makes it none
      this.#lost(code, reason, since < Infinity);
    };
  }

  /**
   * @param {number} code
   * @param {string} reason
   * @param {boolean} opened
   */
  #lost(code, reason, opened) {
    const why = `${code}${reason && `: ${reason}`}`;
    const error = opened
      ? new StreamlaneError(CLOSED[code] ?? `The connection was lost (${why}).`, { code: "connection_lost" })
      : new StreamlaneError(`No connection to ${this.#base}/responses (${why}).`, { code: "connection_failed" });
    if (code >= 4000) return this.#end(error);
    const running = [...this.#running.values()];
    this.#running.clear();
    this.#lanes = lanes();
    this.#failed(error);
    for (const { answer } of running) fail(answer, error);
  }

  /** @param {StreamlaneError} error */
  #failed(error) {
    const { status } = error;
    if (status && status >= 400 && status < 500 && !TRY_AGAIN.has(status)) return this.#end(error);
    this.#failures += 1;
    const retryIn =
      (error.retryAfter ?? 0) + Math.random() * Math.min(LONGEST_PAUSE, PAUSE * 2 ** Math.min(this.#failures, 10));
    this.#timer = setTimeout(() => this.#retry(), retryIn * 1000);
    this.#become("waiting", { error, retryIn });
  }

  #retry() {
    clearTimeout(this.#timer);
    const offline = globalThis.navigator?.onLine === false && !this.#nearby;
    if (!offline) this.#connect(); // otherwise the event "online" brings us back
  }

  /** @param {StreamlaneError} error */
  #end(error) {
    const tasks = [...this.#running.values(), ...this.#waiting];
    this.#error = error;
    this.#attempt = {};
    this.#running.clear();
    this.#waiting = [];
    clearTimeout(this.#timer);
    this.#closing.abort();
    this.#socket?.close();
    this.#become("closed", { error });
    for (const { answer } of tasks) fail(answer, error);
  }

  /**
   * @param {State} state
   * @param {{error?: StreamlaneError, retryIn?: number}} [more]
   */
  #become(state, more) {
    this.#state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, ...more } }));
  }

  /** Send what waits, as long as there is a connection and a free lane. */
  #send() {
    while (this.#state === "open" && this.#lanes.length) {
      const task = this.#waiting.shift();
      if (!task) return;
      try {
        const lane = this.#lanes[this.#lanes.length - 1];
        this.#socket?.send(JSON.stringify({ ...task.fields, type: "response.create", stream_id: lane }));
        this.#lanes.pop();
        task.lane = lane;
        this.#running.set(lane, task);
      } catch (error) {
        fail(task.answer, /** @type {Error} */ (error)); // it cannot be written as JSON
      }
    }
  }

  /** @param {string} data */
  #receive(data) {
    /** @type {ResponseEvent} */
    const event = JSON.parse(data);
    const task = this.#running.get(event.stream_id ?? "") ?? (event.type === "error" ? this.#unread() : undefined);
    if (!task?.lane) return;
    if (TERMINAL.has(event.type)) {
      this.#running.delete(task.lane);
      this.#lanes.push(task.lane);
    }
    give(task.answer, event);
    if (event.type === "response.created" && task.cancelled) this.#sendCancel(task);
    this.#send();
  }

  /** Whose create an error means that names no lane: the gateway could not read it, and reads in order. */
  #unread() {
    return [...this.#running.values()].find((task) => task.answer.id === null);
  }

  /** @param {Task} task */
  #cancel(task) {
    if (task.cancelled) return;
    task.cancelled = true;
    if (task.lane) {
      if (task.answer.id !== null) this.#sendCancel(task); // else as soon as there is something to cancel
      return;
    }
    this.#waiting = this.#waiting.filter((each) => each !== task);
    const incomplete_details = { reason: "cancelled" };
    const { model } = task.fields;
    const response = { id: null, object: "response", status: "cancelled", model, output: [], usage: null };
    give(task.answer, { type: "response.incomplete", response: { ...response, error: null, incomplete_details } });
  }

  /** @param {Task} task */
  #sendCancel(task) {
    this.#socket?.send(JSON.stringify({ type: "response.cancel", stream_id: task.lane }));
  }

  /**
   * @param {string} method
   * @param {string} path
   * @returns {Promise<any>}
   */
  async #request(method, path) {
    const request = this.#fetch;
    /** @type {Record<string, string>} */
    const headers = this.#apiKey ? { Authorization: `Bearer ${this.#apiKey}` } : {};
    let response;
    let body;
    try {
      response = await request(this.#base + path, { method, headers, redirect: "error", signal: AbortSignal.timeout(PATIENCE) });
      body = await response.text();
    } catch (cause) {
      throw new StreamlaneError(`No gateway answers at ${this.#base}.`, { code: "connection_failed", cause });
    }
    try {
      body = JSON.parse(body);
    } catch {
      body = null; // not our gateway, or something before it
    }
    if (response.ok && body) return body;
    const retryAfter = response.headers.get("Retry-After");
    const error = body?.error ?? { message: `${this.#base}${path} answered with HTTP ${response.status}.` };
    throw refusal({ ...error, headers: { "retry-after": retryAfter } }, response.status);
  }
}

/**
 * @param {any} error What the gateway says, in the shape of docs/errors.md.
 * @param {number | null} [status]
 */
function refusal({ message, code, param, headers }, status) {
  const retryAfter = Number.parseFloat(headers?.["retry-after"]);
  return new StreamlaneError(message, { code, status, param, retryAfter: retryAfter >= 0 ? retryAfter : null });
}

/** @returns {string[]} */
function lanes() {
  return Array.from({ length: LANES }, (_, index) => `lane_${LANES - index}`);
}

/**
 * A client. It connects at the first create, or with `open()`.
 * @param {Options} [options]
 * @returns {Client}
 */
export function connect(options) {
  return new Client(options);
}
