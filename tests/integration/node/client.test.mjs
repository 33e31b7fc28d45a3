// The JavaScript client where a clock, a network or a browser is needed that a test can hold: node --test client.test.mjs
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { connect } from "../../../clients/js/streamlane.js";

const FAR = "https://llm.example/v1";
const NEAR = "http://127.0.0.1:1/v1";

/** A WebSocket whose other end is the test. */
class Socket {
  static all = [];
  sent = [];

  constructor(url) {
    this.url = url;
    Socket.all.push(this);
  }
  send(frame) {
    this.sent.push(JSON.parse(frame));
  }
  close() {
    this.onclose({ code: 1005, reason: "" });
  }
  lost(code = 1006, reason = "") {
    this.onclose({ code, reason });
  }
  gets(event) {
    this.onmessage({ data: JSON.stringify(event) });
  }
  static get last() {
    return Socket.all.at(-1);
  }
}

const answered = (body, status = 200, headers = {}) => new Response(JSON.stringify(body), { status, headers });
const ticket = async () => answered({ object: "ws_ticket", ticket: "a/b", expires_in: 30 });
/** Until everything that waits for nothing but its turn is done. */
const settled = async () => {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
};
const message = (text) => ({ type: "message", content: [{ type: "output_text", text }] });
/** A socket's URL without its session. */
const place = (url) => url.replace(/&sl_session=[0-9a-f]{32}&sl_after=\d+/, "");
let client;

/** A client, its states, and its requests. */
function made(options) {
  const states = [];
  client = connect({ baseURL: FAR, WebSocket: Socket, fetch: ticket, ...options });
  client.addEventListener("state", ({ detail }) => states.push(detail));
  return { client, states };
}

let random;
beforeEach(() => {
  Socket.all = [];
  random = mock.method(Math, "random", () => 1);
  mock.timers.enable({ apis: ["setTimeout"] });
});
afterEach(() => {
  client?.close();
  client = undefined;
  mock.timers.reset();
  mock.restoreAll();
});

/** The next timer's time has come. */
async function after(seconds) {
  mock.timers.tick(seconds * 1000);
  await settled();
}

test("pauses grow up to half a minute, and are anything up to that", async () => {
  const { client, states } = made();
  client.open();
  const pauses = [];
  for (let turn = 0; turn < 8; turn += 1) {
    Socket.last.lost();
    const { state, retryIn, error } = states.at(-1);
    assert.equal(state, "waiting");
    assert.equal(error.code, "connection_failed");
    pauses.push(retryIn);
    assert.equal(Socket.all.length, turn + 1);
    await after(retryIn);
    assert.equal(Socket.all.length, turn + 2);
  }
  assert.deepEqual(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
  random.mock.mockImplementation(() => 0.1);
  Socket.last.lost();
  assert.equal(states.at(-1).retryIn, 3);
});

test("a gateway that opens and closes at once is not asked more often; one that served a while is", async () => {
  const { client, states } = made();
  let now = 0;
  mock.method(performance, "now", () => now);
  client.open();
  for (const pause of [1, 2, 4]) {
    Socket.last.onopen();
    Socket.last.lost(1012);
    assert.equal(states.at(-1).retryIn, pause);
    await after(pause);
  }
  Socket.last.onopen();
  now += 60_000;
  Socket.last.lost();
  assert.equal(states.at(-1).retryIn, 0.5);
});

test("what the gateway says about when to come back is waited for, and no key stands in a URL", async () => {
  const answers = [() => answered({ error: { message: "Soon.", code: "server_draining" } }, 503, { "Retry-After": "7" }), ticket];
  const seen = [];
  const fetch = async (url, { method, headers }) => {
    assert.match(url, /\?sl_session=[0-9a-f]{32}$/); // so that a balancer finds the process
    seen.push([method, url.split("?")[0], headers.Authorization]);
    return answers.shift()();
  };
  const { client, states } = made({ apiKey: "sk-secret", fetch });
  client.open();
  await settled();
  assert.deepEqual(seen, [["POST", `${FAR}/ws-tickets`, "Bearer sk-secret"]]);
  const { error, retryIn } = states.at(-1);
  assert.deepEqual([error.code, error.status, error.retryAfter, retryIn], ["server_draining", 503, 7, 8]);
  await after(7.9);
  assert.equal(Socket.all.length, 0);
  await after(0.1);
  assert.equal(place(Socket.last.url), "wss://llm.example/v1/responses?sl_ext=1&ticket=a%2Fb");
});

test("an answer of something before the gateway is no reason to stop, a refusal is", async () => {
  const html = async () => new Response("<html>", { status: 502 });
  const { client, states } = made({ apiKey: "sk-secret", fetch: html });
  client.open();
  await settled();
  assert.equal(client.state, "waiting");
  assert.match(states.at(-1).error.message, /ws-tickets answered with HTTP 502/);
  for (const status of [401, 403, 404]) {
    const refusing = made({ apiKey: "sk-secret", fetch: async () => answered({ error: { message: "No.", code: "no" } }, status) });
    await assert.rejects(refusing.client.open(), { name: "StreamlaneError", code: "no", status, message: "No." });
    assert.equal(refusing.client.state, "closed");
  }
  const busy = made({ apiKey: "sk-secret", fetch: async () => answered({ error: { message: "Busy." } }, 429) });
  busy.client.open();
  await settled();
  assert.equal(busy.client.state, "waiting");
  busy.client.close();
});

test("a close code of 4000 and above is final", async () => {
  const { client, states } = made();
  const answer = client.create({ model: "m", input: "hi" });
  Socket.last.onopen();
  Socket.last.lost(4401, "key revoked");
  assert.equal(client.state, "closed");
  assert.match(states.at(-1).error.message, /4401: key revoked/);
  await assert.rejects(answer.text(), { code: "connection_lost" });
  await assert.rejects(client.create({ model: "m" }).done, { code: "connection_lost" });
  await after(60);
  assert.equal(Socket.all.length, 1);
});

test("what no time heals is not tried again", async () => {
  class Insecure {
    constructor() {
      Socket.all.push(this);
      throw new DOMException("A page from https: may open no ws:.", "SecurityError"); // as browsers do
    }
  }
  const { client } = made({ baseURL: "http://llm.example/v1", WebSocket: Insecure });
  const answer = client.create({ model: "m", input: "hi" });
  await settled();
  assert.equal(client.state, "closed");
  await assert.rejects(answer.text(), { code: "connection_failed", message: /llm\.example\/v1\/responses .*SecurityError/ });
  await after(60);
  assert.equal(Socket.all.length, 1);
});

test("a handshake that never ends is given up", async () => {
  const { client } = made();
  client.open();
  await after(20);
  assert.equal(client.state, "waiting");
});

test("a cancel before response.created is sent as soon as there is something to cancel", async () => {
  const { client } = made();
  const answer = client.create({ model: "m" });
  Socket.last.onopen();
  answer.cancel();
  answer.cancel();
  const [{ stream_id }] = Socket.last.sent;
  assert.equal(Socket.last.sent.length, 1);
  Socket.last.gets({ type: "response.created", stream_id, response: { id: "resp_1" } });
  assert.deepEqual(Socket.last.sent.slice(1), [{ type: "response.cancel", stream_id }]);
  Socket.last.lost();
  assert.equal((await answer.done).status, "cancelled");
});

test("events that belong to nobody harm nobody", async () => {
  const { client } = made();
  const answer = client.create({ model: "m" });
  Socket.last.onopen();
  const [{ stream_id }] = Socket.last.sent;
  Socket.last.gets({ type: "streamlane:hello" });
  Socket.last.gets({ type: "response.created", stream_id: "other", response: { id: "resp_9" } });
  Socket.last.gets({ type: "response.created", stream_id, response: { id: "resp_1" } });
  Socket.last.gets({ type: "error", status: 400, error: { message: "Whose?" } });
  Socket.last.gets({ type: "streamlane:route", stream_id, queue_position: 2 });
  Socket.last.gets({ type: "response.completed", stream_id, response: { output: [] } });
  const types = [];
  for await (const { type } of answer) types.push(type);
  assert.deepEqual(types, ["response.created", "streamlane:route", "response.completed"]);
  assert.equal(answer.id, "resp_1");
});

test("a lane is used again, and not two answers of one lane at once", async () => {
  const { client } = made();
  for (let turn = 0; turn < 17; turn += 1) client.create({ model: "m", input: `${turn}`, stream_id: "mine", type: "x" });
  Socket.last.onopen();
  const lanes = Socket.last.sent.map(({ stream_id }) => stream_id);
  assert.equal(new Set(lanes).size, 16);
  Socket.last.gets({ type: "response.completed", stream_id: lanes[3], response: { output: [] } });
  const { type, stream_id, input } = Socket.last.sent[16];
  assert.deepEqual([type, stream_id, input], ["response.create", lanes[3], "16"]);
});

/** A client with a session and an answer on its way; `gets` numbers what comes. */
async function underWay(options) {
  const { client, states } = made(options);
  const answer = client.create({ model: "m", input: "hi" });
  Socket.last.onopen();
  let number = 0;
  const gets = (event) => Socket.last.gets({ ...event, sl_seq: (number += 1) });
  gets({ type: "streamlane:session.created", epoch: "e1", resume_ttl_s: 600 });
  const [{ stream_id }] = Socket.last.sent;
  const says = (delta) => gets({ type: "response.output_text.delta", stream_id, delta });
  gets({ type: "response.created", stream_id, response: { id: "resp_1" } });
  return { client, states, answer, gets, says, stream_id };
}

test("frames are acknowledged, 64 at once or after a second, and at most 256 may be on their way", async () => {
  const { says } = await underWay();
  const sent = (type) => Socket.last.sent.filter((event) => event.type === `streamlane:${type}`);
  assert.deepEqual(sent("flow.set"), [{ type: "streamlane:flow.set", window: 256 }]);
  for (let turn = 0; turn < 61; turn += 1) says("x");
  assert.deepEqual(sent("session.ack"), []);
  says("x");
  assert.deepEqual(sent("session.ack"), [{ type: "streamlane:session.ack", sl_seq: 64 }]);
  says("x");
  await after(1);
  assert.deepEqual(sent("session.ack").at(-1), { type: "streamlane:session.ack", sl_seq: 65 });
  await after(5);
  assert.equal(sent("session.ack").length, 2);
});

test("it comes back with its number, and a frame that comes again is told once", async () => {
  const { answer, says, stream_id } = await underWay();
  says("Hel"); // 3
  const { url } = Socket.last;
  Socket.last.lost();
  await after(1);
  assert.equal(Socket.last.url, url.replace("sl_after=0", "sl_after=3"));
  Socket.last.onopen();
  Socket.last.gets({ type: "streamlane:session.resumed", epoch: "e1", sl_seq: 4 });
  Socket.last.gets({ type: "response.output_text.delta", stream_id, delta: "Hel", sl_seq: 3 });
  Socket.last.gets({ type: "response.output_text.delta", stream_id, delta: "lo", sl_seq: 5 });
  Socket.last.gets({ type: "response.completed", stream_id, response: { output: [] }, sl_seq: 6 });
  const deltas = [];
  for await (const { delta } of answer) if (delta) deltas.push(delta);
  assert.deepEqual(deltas, ["Hel", "lo"]);
});

test("a create that was not answered is sent again, once the gateway has told what it kept", async () => {
  const { client } = await underWay();
  client.create({ model: "m", input: "two" });
  const create = Socket.last.sent.at(-1);
  Socket.last.lost();
  await after(1);
  Socket.last.onopen();
  Socket.last.gets({ type: "streamlane:session.resumed", epoch: "e1", sl_seq: 3 });
  assert.equal(Socket.last.sent.some(({ type }) => type === "response.create"), false);
  Socket.last.gets({ type: "streamlane:pong", id: 3, sl_seq: 4 });
  assert.deepEqual(Socket.last.sent.filter(({ type }) => type === "response.create"), [create]);
  assert.match(create.event_id, /^[0-9a-f]{32}$/);
});

test("a connection that gives no sign of life is left, and one that does is not", async () => {
  const { client, says } = await underWay();
  const pings = () => Socket.last.sent.filter(({ type }) => type === "streamlane:ping").length;
  says("x");
  await after(8);
  assert.deepEqual([client.state, pings()], ["open", 1]);
  await after(12);
  assert.deepEqual([client.state, pings()], ["open", 2]);
  await after(8);
  assert.equal(client.state, "waiting");
});

test("while a gateway stops, what is asked waits for the next one, as long as it says", async () => {
  const { client, states, gets } = await underWay();
  gets({ type: "streamlane:session.draining", deadline_s: 30, retry_after_ms: 1500 });
  client.create({ model: "m", input: "two" });
  assert.equal(Socket.last.sent.at(-1).input, undefined);
  Socket.last.lost(1012);
  assert.equal(states.at(-1).retryIn, 2);
  await after(2);
  Socket.last.onopen();
  assert.equal(Socket.last.sent[0].input, "two");
});

test("what the gateway does not hold any more is asked for, until it has ended", async () => {
  const held = [
    answered({ error: { message: "Busy." } }, 503),
    answered({ id: "resp_1", status: "in_progress", output: [message("Hel")] }),
    answered({ id: "resp_1", status: "completed", output: [message("Hello")] }),
  ];
  const asked = [];
  const { answer, says } = await underWay({ fetch: async (url) => (asked.push(url.split("?")[0]), held.shift()) });
  says("H");
  Socket.last.lost();
  await after(1);
  Socket.last.onopen();
  Socket.last.gets({ type: "error", status: 409, error: { code: "sl_resume_gap", message: "Gone." }, sl_seq: 4 });
  Socket.last.gets({ type: "streamlane:session.created", epoch: "e2", sl_seq: 5 });
  for (let turn = 0; turn < 3; turn += 1) {
    await settled();
    await after(1);
  }
  assert.deepEqual(asked, Array(3).fill(`${FAR}/responses/resp_1`));
  const events = [];
  for await (const event of answer) events.push(event.delta ?? event.type);
  assert.deepEqual(events, ["response.created", "H", "el", "lo", "response.completed"]);
  assert.equal(await answer.text(), "Hello");
});

test("another text than the one that came is an error, and so is none", async () => {
  for (const response of [answered({ status: "completed", output: [message("Other")] }), answered({ error: { message: "No." } }, 404)]) {
    const { answer, says } = await underWay({ fetch: async () => response });
    says("H");
    const failed = assert.rejects(answer.done, { code: "resume_gap" });
    Socket.last.lost();
    await after(1);
    Socket.last.onopen();
    Socket.last.gets({ type: "streamlane:session.created", epoch: "e2", sl_seq: 1 });
    await failed;
    client.close();
  }
});

test("cancelled without a connection, an answer ends at once and the gateway is told later", async () => {
  const { answer, says, stream_id } = await underWay();
  says("Hel");
  Socket.last.lost();
  answer.cancel();
  assert.equal((await answer.done).status, "cancelled");
  assert.equal(await answer.text(), "Hel");
  await after(1);
  Socket.last.onopen();
  Socket.last.gets({ type: "streamlane:session.resumed", epoch: "e1", sl_seq: 4 });
  assert.deepEqual(Socket.last.sent[0], { type: "response.cancel", stream_id });
});

test("cancelled just before the connection is lost, an answer ends with it", async () => {
  const { client, answer, says, stream_id } = await underWay();
  says("Hel");
  answer.cancel();
  Socket.last.lost();
  assert.equal((await answer.done).status, "cancelled");
  assert.equal(await answer.text(), "Hel");
  await after(1);
  Socket.last.onopen();
  assert.deepEqual(Socket.last.sent[0], { type: "response.cancel", stream_id }); // it may have got lost
  client.create({ model: "m", input: "two" });
  assert.notEqual(Socket.last.sent.at(-1).stream_id, stream_id);
});

/** Until the answer under way is fetched, of which the gateway does not hold all any more. */
async function withGap(held) {
  const under = await underWay({ fetch: () => held });
  under.says("H");
  Socket.last.lost();
  await after(1);
  Socket.last.onopen();
  Socket.last.gets({ type: "error", status: 409, error: { code: "sl_resume_gap", message: "Gone." }, sl_seq: 9 });
  Socket.last.gets({ type: "streamlane:session.resumed", epoch: "e1", sl_seq: 10 });
  return under;
}

test("the last event of an answer that was fetched is not the end of the next one on its lane", async () => {
  const ended = { id: "resp_1", status: "completed", output: [message("Hello")] };
  const { client, answer, stream_id } = await withGap(Promise.resolve(answered(ended)));
  assert.equal(await answer.text(), "Hello");
  const next = client.create({ model: "m", input: "two" });
  assert.equal(Socket.last.sent.at(-1).stream_id, stream_id);
  Socket.last.gets({ type: "response.output_text.delta", stream_id, delta: "lo", sl_seq: 11 });
  Socket.last.gets({ type: "response.completed", stream_id, response: ended, sl_seq: 12 });
  const another = { id: "resp_2", status: "completed", output: [message("Two")] };
  Socket.last.gets({ type: "response.created", stream_id, response: { id: "resp_2" }, sl_seq: 13 });
  Socket.last.gets({ type: "response.output_text.delta", stream_id, delta: "Two", sl_seq: 14 });
  Socket.last.gets({ type: "response.completed", stream_id, response: another, sl_seq: 15 });
  assert.equal(await next.text(), "Two");
  assert.equal(next.id, "resp_2");
});

test("what was being fetched is fetched by who goes on with the session", async () => {
  const { client: first, stream_id } = await withGap(new Promise(() => {}));
  Socket.last.gets({ type: "response.output_text.delta", stream_id, delta: "el", sl_seq: 11 }); // in what is fetched
  const session = JSON.parse(JSON.stringify(first.session));
  first.close();
  const ended = { id: "resp_1", status: "completed", output: [message("Hello")] };
  const { client } = made({ session, fetch: async () => answered(ended) });
  client.open();
  Socket.last.onopen();
  Socket.last.gets({ type: "streamlane:session.resumed", epoch: "e1", sl_seq: 12 });
  Socket.last.gets({ type: "response.output_text.delta", stream_id, delta: "lo", sl_seq: 13 });
  const [answer] = client.answers;
  const deltas = [];
  for await (const { delta } of answer) if (delta) deltas.push(delta);
  assert.deepEqual(deltas, ["H", "ello"]);
});

test("another connection that has the session is the end, and close() stops what runs", async () => {
  const { client, answer } = await underWay();
  const failed = assert.rejects(answer.done, { code: "session_taken" });
  Socket.last.lost(4409);
  await failed;
  assert.equal(client.state, "closed");
  const another = await underWay();
  const closed = assert.rejects(another.answer.done, { code: "client_closed" });
  another.client.close();
  await closed;
  assert.equal(Socket.last.sent.at(-1).type, "response.cancel");
});

test("while there is no network it waits for it, except for a gateway on this machine", async () => {
  const network = new EventTarget();
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  const navigator = { onLine: false };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
  globalThis.addEventListener = network.addEventListener.bind(network);
  try {
    const { client } = made();
    client.open();
    Socket.last.lost();
    await after(3600);
    assert.equal(Socket.all.length, 1);
    navigator.onLine = true;
    network.dispatchEvent(new Event("online"));
    await settled();
    assert.equal(Socket.all.length, 2);
    Socket.last.lost();
    network.dispatchEvent(new Event("online")); // not after its pause: at once
    await settled();
    assert.equal(Socket.all.length, 3);
    client.close();
    network.dispatchEvent(new Event("online"));
    await settled();
    assert.equal(Socket.all.length, 3);

    navigator.onLine = false;
    const near = made({ baseURL: NEAR });
    near.client.open();
    Socket.last.lost();
    await after(60);
    assert.equal(Socket.all.length, 5);
  } finally {
    delete globalThis.addEventListener;
    if (before) Object.defineProperty(globalThis, "navigator", before);
    else delete globalThis.navigator;
  }
});

test("addresses may be written in several ways", () => {
  for (const baseURL of ["ws://h:1/v1/", "http://h:1/v1", new URL("http://h:1/v1//"), "http://h:1/v1?x=1#y"]) {
    made({ baseURL }).client.open();
    assert.equal(place(Socket.last.url), "ws://h:1/v1/responses?sl_ext=1");
    client.close();
  }
  assert.throws(() => connect({ WebSocket: Socket }), /baseURL/);
  assert.throws(() => connect({ baseURL: "nonsense", WebSocket: Socket }), TypeError);
  for (const baseURL of ["localhost:8765/v1", "ftp://h/v1", "wss+x://h/v1", "file:///v1"])
    assert.throws(() => connect({ baseURL, WebSocket: Socket }), /^TypeError: baseURL must begin with http:.*; it begins with/);
});
