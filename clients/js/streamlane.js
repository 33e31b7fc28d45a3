/**
 * Streamlane's client for browsers and Node: many answers at once on one WebSocket. When the network is pulled, it comes
 * back by itself and every answer goes on where it was.
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
 * "waiting": there is no connection; it is tried again after a pause, or was not needed yet. Answers under way go on when
 * it is back. "closed" is for good.
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
 * @property {Session} [session] Of a client that is gone, as after a reload: its answers go on, in `answers`.
 */
/**
 * What another client needs to go on: plain, so that JSON can hold it. Who knows `key` and may use the gateway reads along.
 * @typedef {{key: string, epoch: string | null, after: number, answers: SavedAnswer[]}} Session
 */
/**
 * @typedef {{key: string, id: string | null, text: string, events: ResponseEvent[], lane: string | null,
 *   cancelled: boolean, fetched: boolean, fields: Create}} SavedAnswer
 */
/**
 * One create, from when it was asked for to its end. `fetched`: its end is asked for over HTTP.
 * @typedef {{answer: Answer, fields: Create, lane: string | null, cancelled: boolean, fetched: boolean}} Task
 */

const LANES = 16; // answers at once, which is what a gateway runs on one connection
const PAUSE = 0.5; // seconds: the first pause is anything up to it, and it doubles with each failure
const LONGEST_PAUSE = 30; // seconds
const PATIENCE = 20_000; // milliseconds for a handshake, or for the answer to a request
const STABLE = 5_000; // milliseconds open after which a loss counts as the first one
const WINDOW = 256; // frames that the gateway may send beyond the last that we acknowledged
const ACK_FRAMES = 64; // so many frames are acknowledged at once,
const ACK_AFTER = 1_000; // or those of so many milliseconds
const ALIVE = 8_000; // milliseconds for a sign of life
const REST = 12_000; // milliseconds from that sign to the next question for one
/** @type {Record<number, string>} */
const CLOSED = {
  1009: "The gateway closed the connection: the request is larger than it takes (limits.max_frame_bytes).", // RFC 6455, 7.4.1
  1012: "The gateway restarts. Ask again in a moment.", // IANA's registry of close codes: Service Restart
  4409: "Another connection goes on with this session, such as a copy of this page.",
};
const TOO_BIG = 1009;
const TAKEN = 4409;
const TERMINAL = new Set(["response.completed", "response.incomplete", "response.failed", "error"]);
const TRY_AGAIN = new Set([408, 425, 429]); // the only refusals below 500 that time can heal

/** @type {(answer: Answer, event: ResponseEvent) => void} */
let give;
/** @type {(answer: Answer, error: Error) => void} */
let fail;
/** @type {(answer: Answer, response: any) => void} */
let catchUp;
/** @type {(answer: Answer) => {key: string, id: string | null, text: string, events: ResponseEvent[]}} */
let saved;

/**
 * Why there is no answer. `code` is the gateway's, or "connection_lost", "connection_failed", "client_closed",
 * "resume_gap" (it cannot go on: the gateway does not hold it any more) or "session_taken".
 */
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
  #events; // that nobody has taken yet
  #text; // all that came
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
    catchUp = (answer, response) => answer.#catchUp(response);
    saved = (answer) => ({ key: answer.key, id: answer.id, text: answer.#text, events: answer.#events });
  }

  /**
   * @param {() => void} cancel
   * @param {{key?: string, id?: string | null, text?: string, events?: ResponseEvent[]}} [before] What a session saved.
   */
  constructor(cancel, { key = random(), id = null, text = "", events = [] } = {}) {
    this.#cancel = cancel;
    this.#events = [...events];
    this.#text = text;
    /** Its name in the session, and the create's `event_id`. */
    this.key = key;
    /** The response's id; null before `response.created`. @type {string | null} */
    this.id = id;
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
    return textOf(await this.done);
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
    if (event.type === "response.created") this.id = event.response.id;
    if (this.#ended) return; // cancelled while there was no connection
    if (event.type === "error") return this.#fail(refusal(event.error, event.status));
    if (event.type === "response.output_text.delta") this.#text += event.delta;
    this.#events.push(event);
    if (event.type === "response.failed") return this.#fail(refusal(event.response.error));
    if (TERMINAL.has(event.type)) {
      this.#ended = true;
      this.#resolve(event.response);
    }
    this.#wake();
  }

  /**
   * The response as the gateway holds it now, instead of events that are lost: what is missing comes as one delta.
   * @param {any} response
   */
  #catchUp(response) {
    const text = textOf(response);
    const under = ["in_progress", "queued"].includes(response.status);
    if (text.startsWith(this.#text)) {
      const delta = text.slice(this.#text.length);
      if (delta) this.#give({ type: "response.output_text.delta", output_index: 0, content_index: 0, delta });
    } else if (response.status !== "failed" && !(under && this.#text.startsWith(text))) {
      return this.#fail(new StreamlaneError("The gateway holds another answer than the one that came so far.", { code: "resume_gap" }));
    }
    const end = ["completed", "failed"].includes(response.status) ? response.status : "incomplete";
    if (!under) this.#give({ type: `response.${end}`, response });
  }

  /** @param {Error} error */
  #fail(error) {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#reject(error);
    this.#wake();
  }
}

/** One session with a gateway. Dispatches a "state" event at each change, whose `detail` is a StateDetail. */
export class Client extends EventTarget {
  /** @type {State} */
  #state = "waiting";
  /** @type {Task[]} */
  #waiting = [];
  /** @type {Map<string, Task>} */
  #running = new Map(); // by lane, in the order in which they were sent
  /** @type {Map<string, string | null>} */
  #before = new Map(); // by lane: the response that was there last
  #lanes = Array.from({ length: LANES }, (_, index) => `lane_${LANES - index}`); // those that are free
  #key;
  /** @type {string | null} */
  #epoch; // what the gateway calls its log of this session; null before it said that it keeps one
  #after; // the last frame that came
  #unacked = 0; // frames
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #ackTimer;
  #heard = false; // anything, since we asked for a sign of life
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pulse;
  /** @type {Task[]} */
  #unsure = []; // whose creates were sent on an earlier connection, and may not have arrived
  #draining = false; // the gateway stops: what is asked now waits for the next one
  /** @type {number | null} */
  #comeBack = null; // seconds, as the gateway that stops said
  #moved = false; // an answer went on since the connection opened
  /** @type {WebSocket | undefined} */
  #socket;
  #drop = () => {}; // the connection, without waiting for the other side
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
  constructor({ baseURL, apiKey, WebSocket: Socket, fetch: request, session } = {}) {
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
    this.#key = session?.key ?? random();
    this.#epoch = session?.epoch ?? null;
    this.#after = session?.after ?? 0;
    for (const each of session?.answers ?? []) this.#restore(each);
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** The answers under way, in the order in which they were sent. @returns {Answer[]} */
  get answers() {
    return this.#tasks().filter(({ cancelled }) => !cancelled).map(({ answer }) => answer);
  }

  /**
   * What another client needs to go on with these answers: save it in "pagehide", give it to connect(). Events that
   * your loop has not taken yet are in it.
   * @returns {Session}
   */
  get session() {
    const answers = this.#tasks().map(({ answer, ...task }) => ({ ...saved(answer), ...task }));
    return { key: this.#key, epoch: this.#epoch, after: this.#after, answers };
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
    const task = { answer, fields: { ...create }, lane: null, cancelled: false, fetched: false };
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

  /** What is left of the gateway's accounts: the entries of GET /v1/quota. @returns {Promise<Array<{id: string, [member: string]: any}>>} */
  async quota() {
    return (await this.#request("GET", "/quota")).data;
  }

  /**
   * Say whether an answer was good, or with null take that back, so that the gateway's router can learn from it. Rejects
   * with the code "response_not_found" for an answer whose model the gateway did not choose.
   * @param {string} responseId
   * @param {"up" | "down" | null} rating
   * @param {{preferredModel?: string}} [options] Who would have been better than one that is rated "down".
   * @returns {Promise<void>}
   */
  async rate(responseId, rating, { preferredModel } = {}) {
    if (rating === null) await this.#request("DELETE", `/feedback/${encodeURIComponent(responseId)}`);
    else await this.#request("POST", "/feedback", { response_id: responseId, rating, preferred_model: preferredModel });
  }

  /** Leave for good. Answers on their way are stopped, and fail with the code "client_closed". */
  close() {
    if (this.#error) return;
    // A session outlives its connection, and so would they.
    if (this.#state === "open") for (const task of this.#running.values()) this.#sendCancel(task);
    this.#end(new StreamlaneError("The client was closed.", { code: "client_closed" }));
  }

  #tasks() {
    return [...this.#running.values(), ...this.#waiting];
  }

  /** @param {SavedAnswer} saved */
  #restore({ lane, cancelled, fetched, fields, ...before }) {
    /** @type {Task} */
    const task = { answer: new Answer(() => this.#cancel(task), before), fields, lane, cancelled, fetched };
    if (lane === null) return void this.#waiting.push(task);
    this.#running.set(lane, task);
    this.#lanes = this.#lanes.filter((free) => free !== lane);
  }

  #start() {
    if (this.#attempt || this.#error) return;
    const look = () => {
      if (this.#state === "waiting") this.#retry();
      else if (this.#state === "open" && this.#epoch !== null) this.#probe(); // networks change without a word to sockets
    };
    const { signal } = this.#closing;
    for (const change of ["online", "offline"]) globalThis.addEventListener?.(change, look, { signal });
    globalThis.document?.addEventListener("visibilitychange", look, { signal });
    for (const task of this.#running.values()) if (task.fetched) void this.#fetchEnd(task); // by the client before
    this.#connect();
  }

  async #connect() {
    const attempt = (this.#attempt = {});
    this.#become("connecting");
    let url = `${this.#base.replace(/^http/, "ws")}/responses?sl_ext=1&sl_session=${this.#key}&sl_after=${this.#after}`;
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
    let since = Infinity;
    const gone = (/** @type {number} */ code, /** @type {string} */ reason) => {
      clearTimeout(patience);
      if (this.#attempt !== attempt) return;
      this.#attempt = {};
      if (this.#moved || performance.now() - since > STABLE) this.#failures = -1; // then this one makes it none
      this.#lost(code, reason, since < Infinity);
    };
    this.#drop = () => {
      socket.close(); // which takes its time when nobody is there
      gone(1006, "");
    };
    const patience = setTimeout(this.#drop, PATIENCE);
    socket.onopen = () => {
      clearTimeout(patience);
      if (this.#attempt !== attempt) return;
      since = performance.now();
      this.#moved = this.#draining = false;
      this.#unsure = [...this.#running.values()].filter(({ answer }) => answer.id === null);
      this.#become("open");
      for (const task of this.#running.values()) if (task.cancelled && task.answer.id !== null) this.#sendCancel(task);
      if (this.#epoch === null) this.#sendAgain();
      this.#send();
    };
    socket.onmessage = ({ data }) => {
      if (this.#attempt === attempt) this.#receive(data);
    };
    socket.onerror = () => {}; // "close" follows, and is told alike everywhere
    socket.onclose = ({ code, reason }) => gone(code, reason);
  }

  /**
   * @param {number} code
   * @param {string} reason
   * @param {boolean} opened
   */
  #lost(code, reason, opened) {
    this.#quiet();
    const why = `${code}${reason && `: ${reason}`}`;
    const lost = code === TAKEN ? "session_taken" : "connection_lost";
    const retryAfter = this.#comeBack;
    this.#comeBack = null;
    const error = opened
      ? new StreamlaneError(CLOSED[code] ?? `The connection was lost (${why}).`, { code: lost, retryAfter })
      : new StreamlaneError(`No connection to ${this.#base}/responses (${why}).`, { code: "connection_failed" });
    if (code >= 4000) return this.#end(error);
    const running = [...this.#running.values()];
    let failed = this.#epoch === null ? running.filter(({ answer }) => answer.id !== null) : []; // it keeps no sessions
    if (code === TOO_BIG) failed = failed.concat(largest(running.filter(({ answer }) => answer.id === null)));
    for (const task of failed) this.#free(task);
    for (const task of running) if (task.cancelled) this.#leave(task); // its last event may be long in coming
    this.#failed(error);
    for (const { answer } of failed) fail(answer, error);
  }

  /** No connection, so nothing to acknowledge or to listen for. */
  #quiet() {
    clearTimeout(this.#ackTimer);
    clearTimeout(this.#pulse);
    this.#ackTimer = undefined;
    this.#unacked = 0;
  }

  /** @param {StreamlaneError} error */
  #failed(error) {
    if (isFinal(error.status)) return this.#end(error);
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
    const tasks = this.#tasks();
    this.#error = error;
    this.#quiet();
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
    while (this.#state === "open" && !this.#draining && this.#lanes.length) {
      const task = this.#waiting.shift();
      if (!task) return;
      task.lane = this.#lanes[this.#lanes.length - 1];
      try {
        this.#sendCreate(task);
        this.#lanes.pop();
        this.#running.set(task.lane, task);
      } catch (error) {
        task.lane = null;
        fail(task.answer, /** @type {Error} */ (error)); // it cannot be written as JSON
      }
    }
  }

  /**
   * After a cut: what may not have arrived. The gateway knows each create by its `event_id`, and runs it once. One that was
   * refused it forgets, so this waits until all refusals have come again.
   */
  #sendAgain() {
    for (const task of this.#unsure.splice(0))
      if (task.answer.id === null && this.#running.get(task.lane ?? "") === task) this.#sendCreate(task);
  }

  /** @param {Task} task */
  #sendCreate({ fields, lane, answer }) {
    this.#put({ ...fields, type: "response.create", stream_id: lane, event_id: answer.key });
  }

  /** @param {object} event */
  #put(event) {
    this.#socket?.send(JSON.stringify(event));
  }

  /** @param {string} data */
  #receive(data) {
    /** @type {ResponseEvent} */
    const event = JSON.parse(data);
    this.#heard = true;
    const { type, sl_seq: number } = event;
    const gap = type === "error" && event.error?.code === "sl_resume_gap";
    if (gap || type === "streamlane:session.created") this.#after = 0; // its numbers begin anew
    if (number !== undefined) {
      if (number <= this.#after) return;
      this.#after = number;
      this.#unacked += 1;
      if (this.#unacked === ACK_FRAMES) this.#acknowledge();
      else this.#ackTimer ??= setTimeout(() => this.#acknowledge(), ACK_AFTER);
    }
    if (gap) return this.#fetchAll();
    if (type === "error" && event.error?.code === "session_away") return; // it never began, and is sent again
    if (event.stream_id === undefined && type.startsWith("streamlane:")) return this.#ofSession(event);
    const task = this.#running.get(event.stream_id ?? "") ?? (type === "error" ? this.#unread() : undefined);
    if (!task || task.fetched) return;
    if (task.answer.id === null && this.#isTail(event)) return;
    this.#moved = true;
    if (TERMINAL.has(type)) this.#free(task);
    give(task.answer, event);
    if (type === "response.created" && task.cancelled) this.#sendCancel(task);
    this.#send();
  }

  /** @param {ResponseEvent} event */
  #ofSession({ type, epoch, retry_after_ms }) {
    if (type === "streamlane:session.created" || type === "streamlane:session.resumed") {
      const lost = this.#epoch !== null && this.#epoch !== epoch;
      this.#epoch = epoch;
      this.#put({ type: "streamlane:flow.set", window: WINDOW });
      this.#probe();
      if (lost) this.#fetchAll();
    } else if (type === "streamlane:pong") {
      this.#sendAgain();
    } else if (type === "streamlane:session.draining") {
      this.#draining = true;
      this.#comeBack = retry_after_ms / 1000;
    }
  }

  #acknowledge() {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
    this.#unacked = 0;
    this.#put({ type: "streamlane:session.ack", sl_seq: this.#after });
  }

  /** Ask for a sign of life, now and again: a page sees no pings, and a dead network says nothing. */
  #probe() {
    clearTimeout(this.#pulse);
    this.#heard = false;
    this.#put({ type: "streamlane:ping", id: this.#after });
    this.#pulse = setTimeout(() => {
      if (!this.#heard) return this.#drop();
      this.#pulse = setTimeout(() => this.#probe(), REST);
    }, ALIVE);
  }

  /** The gateway lost its log of this session. Ask for what came of each answer. */
  #fetchAll() {
    for (const task of this.#running.values()) if (task.answer.id !== null && !task.fetched) void this.#fetchEnd(task);
  }

  /** @param {Task} task */
  async #fetchEnd(task) {
    task.fetched = true;
    for (let turn = 0, ended = false; !ended && !this.#error; turn += 1) {
      let pause = 1; // seconds; it still runs
      try {
        const response = await this.#request("GET", `/responses/${task.answer.id}`);
        if (this.#error) return;
        ended = !["in_progress", "queued"].includes(response.status);
        if (ended) this.#free(task);
        catchUp(task.answer, response);
      } catch (cause) {
        ended = isFinal(/** @type {StreamlaneError} */ (cause).status);
        pause = Math.min(LONGEST_PAUSE, 2 ** Math.min(turn, 10));
        if (!ended) continue;
        this.#free(task);
        const message = "The answer cannot go on: the gateway does not hold it any more. Ask again.";
        fail(task.answer, new StreamlaneError(message, { code: "resume_gap", cause }));
      } finally {
        if (!ended && !this.#error) await new Promise((resolve) => setTimeout(resolve, pause * 1000));
      }
    }
    this.#send();
  }

  /** @param {Task} task */
  #free(task) {
    const { lane, answer } = task;
    if (lane === null || this.#running.get(lane) !== task) return;
    this.#running.delete(lane);
    this.#before.set(lane, answer.id);
    this.#lanes.push(lane);
  }

  /**
   * What comes on a lane before its response began is the end of the one before. That one may have been fetched meanwhile,
   * and then its last event is late.
   * @param {ResponseEvent} event
   */
  #isTail({ type, stream_id, response }) {
    if (type !== "response.created" && !TERMINAL.has(type)) return type.startsWith("response.");
    return response !== undefined && response.id === (this.#before.get(stream_id ?? "") ?? "");
  }

  /** Whose create an error means that names no lane: the gateway could not read it, and reads in order. */
  #unread() {
    return [...this.#running.values()].find((task) => task.answer.id === null);
  }

  /** @param {Task} task */
  #cancel(task) {
    if (task.cancelled) return;
    task.cancelled = true;
    if (!task.lane || this.#state !== "open") this.#leave(task);
    else if (task.answer.id !== null) this.#sendCancel(task); // otherwise as soon as there is something to cancel
  }

  /** It was cancelled, and nobody can be told now: if it was sent, that is for when there is a connection. @param {Task} task */
  #leave(task) {
    const { lane, answer, fields } = task;
    this.#waiting = this.#waiting.filter((each) => each !== task);
    const content = [{ type: "output_text", text: saved(answer).text, annotations: [] }];
    const output = lane ? [{ type: "message", role: "assistant", status: "incomplete", content }] : [];
    const incomplete_details = { reason: "cancelled" };
    const response = { id: answer.id, object: "response", status: "cancelled", model: fields.model, output, usage: null };
    give(answer, { type: "response.incomplete", response: { ...response, error: null, incomplete_details } });
  }

  /** @param {Task} task */
  #sendCancel(task) {
    this.#put({ type: "response.cancel", stream_id: task.lane });
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object} [sent]
   * @returns {Promise<any>}
   */
  async #request(method, path, sent) {
    const request = this.#fetch;
    /** @type {Record<string, string>} */
    const headers = this.#apiKey ? { Authorization: `Bearer ${this.#apiKey}` } : {};
    if (sent) headers["Content-Type"] = "application/json";
    const asked = { method, headers, ...(sent && { body: JSON.stringify(sent) }) };
    let response;
    let body;
    try {
      // The session, so that a balancer asks the process that holds it.
      response = await request(`${this.#base}${path}?sl_session=${this.#key}`, { ...asked, redirect: "error", signal: AbortSignal.timeout(PATIENCE) });
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
    const error = body?.error?.message ? body.error : { message: `${this.#base}${path} answered with HTTP ${response.status}.` };
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

/** @param {number | null} status */
function isFinal(status) {
  return status !== null && status >= 400 && status < 500 && !TRY_AGAIN.has(status);
}

/** What a response says. @param {{output: any[]}} response @returns {string} */
function textOf({ output }) {
  const parts = output.flatMap((item) => (item.type === "message" ? item.content : []));
  return parts.map((part) => (part.type === "output_text" ? part.text : "")).join("");
}

/** The longest create, which the gateway must have meant. @param {Task[]} tasks @returns {Task[]} */
function largest(tasks) {
  const size = (/** @type {Task} */ { fields }) => JSON.stringify(fields).length;
  return tasks.sort((a, b) => size(b) - size(a)).slice(0, 1);
}

/** 128 bits that nobody guesses, as 32 characters. */
function random() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A client. It connects at the first create, or with `open()`.
 * @param {Options} [options]
 * @returns {Client}
 */
export function connect(options) {
  return new Client(options);
}
