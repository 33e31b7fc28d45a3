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
export type Create = {
    model: string;
    input?: string | object[];
    instructions?: string;
    max_output_tokens?: number;
    temperature?: number;
    [member: string]: unknown;
};
export type ResponseEvent = {
    type: string;
    sequence_number?: number;
    stream_id?: string;
    [member: string]: any;
};
export type FinalResponse = {
    id: string | null;
    object: "response";
    status: "completed" | "incomplete" | "cancelled" | "failed";
    model: string;
    output: any[];
    usage: any;
    incomplete_details: {
        reason: string;
    } | null;
    [member: string]: any;
};
export type State = "connecting" | "open" | "waiting" | "closed";
export type StateDetail = {
    state: State;
    error?: StreamlaneError;
    retryIn?: number;
};
export type Options = {
    /**
     * Such as "http://127.0.0.1:8765/v1". In a page: by default /v1 where it came from.
     */
    baseURL?: string | URL;
    /**
     * Changed for a ticket before each connection; it never stands in a URL.
     */
    apiKey?: string;
    /**
     * For a Node that has none: the class of the package `ws`.
     */
    WebSocket?: new (url: string) => any;
    /**
     * Instead of the global one.
     */
    fetch?: typeof fetch;
    /**
     * Of a client that is gone, as after a reload: its answers go on, in `answers`.
     */
    session?: Session;
};
export type Session = {
    key: string;
    epoch: string | null;
    after: number;
    answers: SavedAnswer[];
};
export type SavedAnswer = {
    key: string;
    id: string | null;
    text: string;
    events: ResponseEvent[];
    lane: string | null;
    cancelled: boolean;
    fetched: boolean;
    fields: Create;
};
export type Task = {
    answer: Answer;
    fields: Create;
    lane: string | null;
    cancelled: boolean;
    fetched: boolean;
};
/**
 * Why there is no answer. `code` is the gateway's, or "connection_lost", "connection_failed", "client_closed",
 * "resume_gap" (it cannot go on: the gateway does not hold it any more) or "session_taken".
 */
export declare class StreamlaneError extends Error {
    code: string | null;
    /** The HTTP status that goes with it; null where there is none. */
    status: number | null;
    /** The member of the request that was wrong. */
    param: string | null;
    /** Seconds after which another try makes sense, where the gateway said so. */
    retryAfter: number | null;
    /**
     * @param {string} message
     * @param {{code?: string | null, status?: number | null, param?: string | null, retryAfter?: number | null,
     *   cause?: unknown}} [details]
     */
    constructor(message: string, { code, status, param, retryAfter, cause }?: {
        code?: string | null;
        status?: number | null;
        param?: string | null;
        retryAfter?: number | null;
        cause?: unknown;
    });
}
/** An answer that is on its way: iterate over its events, once, or wait for `done` or `text()`. */
export declare class Answer {
    #private;
    /** Its name in the session, and the create's `event_id`. */
    key: string;
    /** The response's id; null before `response.created`. @type {string | null} */
    id: string | null;
    /** The response when it has ended; cut or cancelled ones too. @type {Promise<FinalResponse>} */
    done: Promise<FinalResponse>;
    /**
     * @param {() => void} cancel
     * @param {{key?: string, id?: string | null, text?: string, events?: ResponseEvent[]}} [before] What a session saved.
     */
    constructor(cancel: () => void, { key, id, text, events }?: {
        key?: string;
        id?: string | null;
        text?: string;
        events?: ResponseEvent[];
    });
    /** Stop it. It still ends with its last event, `response.incomplete`, and keeps the text that was said. */
    cancel(): void;
    /** The whole text, when it has ended. @returns {Promise<string>} */
    text(): Promise<string>;
    /**
     * The events as they come. Leaving the loop early cancels the response.
     * @returns {AsyncGenerator<ResponseEvent, void, void>}
     */
    [Symbol.asyncIterator](): AsyncGenerator<ResponseEvent, void, void>;
}
/** One session with a gateway. Dispatches a "state" event at each change, whose `detail` is a StateDetail. */
export declare class Client extends EventTarget {
    #private;
    /** @param {Options} [options] */
    constructor({ baseURL, apiKey, WebSocket: Socket, fetch: request, session }?: Options);
    /** @returns {State} */
    get state(): State;
    /** The answers under way, in the order in which they were sent. @returns {Answer[]} */
    get answers(): Answer[];
    /**
     * What another client needs to go on with these answers: save it in "pagehide", give it to connect(). Events that
     * your loop has not taken yet are in it.
     * @returns {Session}
     */
    get session(): Session;
    /** Connect now, not at the first create. Rejects when the gateway refuses; waits as long as it cannot be reached. */
    open(): Promise<void>;
    /**
     * Ask. While there is no connection it waits for one; so it does while 16 answers are on their way.
     * @param {Create} create
     * @param {{signal?: AbortSignal}} [options] Aborting the signal cancels the answer.
     * @returns {Answer}
     */
    create(create: Create, { signal }?: {
        signal?: AbortSignal;
    }): Answer;
    /** What can be asked: the entries of GET /v1/models. @returns {Promise<Array<{id: string, [member: string]: any}>>} */
    models(): Promise<Array<{
        id: string;
        [member: string]: any;
    }>>;
    /** What is left of the gateway's accounts: the entries of GET /v1/quota. @returns {Promise<Array<{id: string, [member: string]: any}>>} */
    quota(): Promise<Array<{
        id: string;
        [member: string]: any;
    }>>;
    /**
     * Say whether an answer was good, or with null take that back, so that the gateway's router can learn from it. Rejects
     * with the code "response_not_found" for an answer whose model the gateway did not choose.
     * @param {string} responseId
     * @param {"up" | "down" | null} rating
     * @param {{preferredModel?: string}} [options] Who would have been better than one that is rated "down".
     * @returns {Promise<void>}
     */
    rate(responseId: string, rating: "up" | "down" | null, { preferredModel }?: {
        preferredModel?: string;
    }): Promise<void>;
    /** Leave for good. Answers on their way are stopped, and fail with the code "client_closed". */
    close(): void;
}
/**
 * A client. It connects at the first create, or with `open()`.
 * @param {Options} [options]
 * @returns {Client}
 */
export declare function connect(options?: Options): Client;
