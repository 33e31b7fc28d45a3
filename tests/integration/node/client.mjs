// Runs one scenario with the JavaScript client: node client.mjs SCENARIO BASE_URL [API_KEY]
// What it finds it prints, a line of JSON each; a scenario that must wait for the test reads lines from stdin.
import { createInterface } from "node:readline";

import { WebSocket } from "ws";

import { connect } from "../../../clients/js/streamlane.js";

const [scenario, baseURL, apiKey] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const options = process.env.NATIVE_WEBSOCKET ? {} : { WebSocket };
const client = connect({ baseURL, apiKey, ...options });
const states = [];
client.addEventListener("state", ({ detail }) => states.push(detail));

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const told = () => lines.next();
const ask = (more) => client.create({ model: "fake", input: "hi", ...more });
const why = ({ name, message, code, status, param, retryAfter }) => ({ name, message, code, status, param, retryAfter });
const refused = (promise) => promise.then(() => "no error", why);
const state = (wanted) =>
  new Promise((resolve) => {
    const look = () => client.state === wanted && resolve();
    client.addEventListener("state", look);
    look();
  });

/** The first event of that type. */
async function until(events, type) {
  for (;;) {
    const { value, done } = await events.next();
    if (done) throw new Error(`no ${type}`);
    if (value.type === type) return value;
  }
}

/** What an answer's deltas say. */
async function said(answer) {
  let text = "";
  for await (const event of answer) if (event.type === "response.output_text.delta") text += event.delta;
  return text;
}

const scenarios = {
  async stream() {
    const answer = ask({ metadata: { a: "b" } });
    const before = answer.id;
    const events = [];
    for await (const event of answer) events.push(event);
    const response = await answer.done;
    say({ before, events, id: answer.id, response, text: await answer.text(), states: states.map(({ state }) => state) });
  },

  async text() {
    const [model, input] = process.env.ASK.split("|");
    say(await client.create({ model, input, temperature: 0 }).text());
  },

  async rate() {
    const { id } = await client.create({ model: "auto", input: "Hello" }).done;
    for (const [rating, options] of [["down", { preferredModel: "small" }], [null], ["up"]]) {
      await client.rate(id, rating, options);
      say(rating);
      await told();
    }
    say(await refused(client.rate("resp_none", "up")));
  },

  async models() {
    say((await client.models()).map(({ id }) => id));
  },

  async quota() {
    say((await client.quota()).map(({ id }) => id));
  },

  async refusal() {
    const answer = ask({ model: "no-such-model" });
    const iterated = await refused(answer[Symbol.asyncIterator]().next());
    const unreadable = ask({ input: "\ud800" }); // the gateway cannot tell whose frame that was
    const unsendable = ask({ metadata: 1n });
    const reasons = [await refused(answer.done), await refused(answer.text()), iterated];
    say({ reasons, unreadable: await refused(unreadable.done), unsendable: await refused(unsendable.done) });
    say(await ask().text());
  },

  async failed() {
    const answer = ask();
    const types = [];
    let thrown;
    try {
      for await (const event of answer) types.push(event.type);
    } catch (error) {
      thrown = why(error);
    }
    say({ types, thrown, done: await refused(answer.done) });
  },

  async cancel() {
    const answer = ask();
    const types = [];
    for await (const event of answer) {
      types.push(event.type);
      if (event.type === "response.output_text.delta") answer.cancel();
    }
    say({ types, text: await answer.text(), response: await answer.done });
    answer.cancel(); // long over: nothing happens
    const early = ask();
    early.cancel(); // sent, and not even begun
    say({ status: (await early.done).status });
    await told();
    say(await ask().text());
  },

  async leave() {
    const answer = ask();
    for await (const event of answer) if (event.type === "response.output_text.delta") break;
    say({ status: (await answer.done).status });
  },

  async signal() {
    const controller = new AbortController();
    const answer = client.create({ model: "fake", input: "hi" }, { signal: controller.signal });
    await until(answer[Symbol.asyncIterator](), "response.output_text.delta");
    controller.abort();
    say({ status: (await answer.done).status });
    const never = client.create({ model: "fake", input: "hi" }, { signal: AbortSignal.abort() });
    const types = [];
    for await (const event of never) types.push(event.type);
    const { id, status, incomplete_details: details } = await never.done;
    say({ types, id, status, reason: details.reason, text: await never.text() });
  },

  async interleaved() {
    const [one, two] = [ask({ model: "one" }), ask({ model: "two" })];
    const [first, second] = [one[Symbol.asyncIterator](), two[Symbol.asyncIterator]()];
    await until(first, "response.output_text.delta");
    await until(second, "response.output_text.delta");
    say("both");
    say([await two.text(), await one.text()]);
  },

  async twenty() {
    const answers = Array.from({ length: 20 }, () => ask());
    answers[19].cancel(); // the last of those that wait in the client
    await Promise.all(answers.slice(0, 16).map((answer) => until(answer[Symbol.asyncIterator](), "response.created")));
    say({ begun: answers.filter(({ id }) => id !== null).length });
    await told();
    const responses = await Promise.all(answers.map(({ done }) => done));
    say({ statuses: responses.map(({ status }) => status), ids: new Set(responses.map(({ id }) => id)).size });
  },

  async key() {
    await client.open();
    say({ text: await ask().text(), models: (await client.models()).length });
  },

  async wrong_key() {
    const waiting = ask();
    say({ open: await refused(client.open()), waiting: await refused(waiting.done), later: await refused(ask().done) });
    say({ state: client.state, last: states.at(-1).state, error: why(states.at(-1).error), models: await refused(client.models()) });
  },

  async lost() {
    const [idle, answer] = [ask({ model: "idle" }), ask()];
    await idle.done;
    await until(answer[Symbol.asyncIterator](), "response.output_text.delta");
    say("streaming");
    say(await ask({ model: "idle" }).text()); // asked while there is no connection
    say(await answer.text());
    say({ states: states.map(({ state }) => state), retries: states.flatMap(({ retryIn }) => retryIn ?? []) });
  },

  async fuzz() {
    const random = Math.random;
    Math.random = () => random() / 20; // pauses are short, otherwise all is said while we are away
    await Promise.all([...process.env.LANES].map(async (lane) => {
      for (let left = Number(process.env.ANSWERS); left > 0; left -= 1) {
        const events = [];
        for await (const { type, sequence_number, delta } of ask({ model: lane }))
          if (type.startsWith("response.")) events.push([type, sequence_number, delta ?? ""]);
        say([lane, events]);
      }
    }));
  },

  async forgotten() {
    const answer = ask();
    const events = answer[Symbol.asyncIterator]();
    let text = (await until(events, "response.output_text.delta")).delta;
    say("streaming");
    for await (const event of events) if (event.type === "response.output_text.delta") text += event.delta;
    say({ text, final: await answer.text(), another: await ask().text() });
  },

  async died() {
    const answer = ask();
    await until(answer[Symbol.asyncIterator](), "response.output_text.delta");
    say("streaming");
    say(await refused(answer.done));
    say(await ask().text());
  },

  async handover() {
    const [one, two] = [ask(), ask()];
    const { delta: text } = await until(one[Symbol.asyncIterator](), "response.output_text.delta");
    await until(two[Symbol.asyncIterator](), "response.created"); // and what comes behind it nobody has taken
    const session = JSON.parse(JSON.stringify(client.session));
    const next = connect({ baseURL, session, ...options });
    const going = next.answers;
    await next.open();
    say({ text, answers: going.length });
    const texts = await Promise.all(going.map(said));
    const finals = await Promise.all(going.map((answer) => answer.text()));
    say({ texts, finals, before: await refused(one.done), state: client.state });
    next.close();
  },

  async too_big() {
    await client.open();
    say(await refused(ask({ input: "x".repeat(5000) }).done));
    say(await ask().text()); // the connection comes back
  },

  async restart() {
    await ask().done; // what is unread when a server closes can cost the reason why it did
    say("open");
    await state("waiting");
    const answer = ask();
    say({ error: why(states.at(-1).error) });
    say(await answer.text());
  },

  async close() {
    const answer = ask();
    await until(answer[Symbol.asyncIterator](), "response.output_text.delta");
    client.close();
    say({ state: client.state, answer: await refused(answer.done), later: await refused(ask().done), open: await refused(client.open()) });
  },

  async unreachable() {
    const answer = ask();
    await state("waiting");
    say({ error: why(states.at(-1).error), models: await refused(client.models()) });
    answer.cancel();
    say({ status: (await answer.done).status });
  },
};

await scenarios[scenario]();
client.close();
lines.return?.();
process.stdin.destroy();
