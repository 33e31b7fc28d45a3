// The chat page's thinking, without a page: the tree of messages, and what the events of a response make of one.

import assert from "node:assert/strict";
import { test } from "node:test";

const WEB = new URL("../../../clients/web/", import.meta.url);
const { Conversation, adopted, checked, goneOn, interruptRunning, merge, titleOf } = await import(new URL("tree.js", WEB));
const { fail, requestFor, speed, take } = await import(new URL("progress.js", WEB));
const { queueWords, waitWords, wordsFor } = await import(new URL("words.js", WEB));
const { byAccount, leftToday, limitOf, merged, restOf, soon, stateOf, summary, termsOf } = await import(new URL("quota.js", WEB));

let clock = 0;
const message = (id, parent, role, text = id) => ({ id, parent, role, text, at: (clock += 1) });
const talk = () => {
  const chat = Conversation.empty("c1", 0);
  chat.add(message("q1", null, "user"));
  chat.add(message("a1", "q1", "assistant"));
  chat.add(message("q2", "a1", "user"));
  chat.add(message("a2", "q2", "assistant"));
  return chat;
};
const ids = (chat) => chat.path().map(({ id }) => id);

test("a regenerated answer is a sibling, and the old way is still there", () => {
  const chat = talk();
  chat.add(message("a1b", "q1", "assistant"));
  assert.deepEqual(ids(chat), ["q1", "a1b"]);
  assert.deepEqual(chat.siblings("a1b"), ["a1", "a1b"]);
  chat.choose("a1");
  assert.deepEqual(ids(chat), ["q1", "a1", "q2", "a2"]);
});

test("an edited first message is another beginning, and the title follows until somebody names it", () => {
  const chat = talk();
  chat.add(message("q1b", null, "user", "A better question"));
  assert.deepEqual(ids(chat), ["q1b"]);
  assert.equal(chat.data.title, "A better question");
  chat.rename("  Mine  ");
  chat.add(message("q1c", null, "user"));
  assert.equal(chat.data.title, "Mine");
});

test("every branch survives storing and loading", () => {
  const chat = talk();
  chat.add(message("a2b", "q2", "assistant"));
  chat.choose("a2");
  const again = new Conversation(JSON.parse(JSON.stringify(chat.data)));
  assert.deepEqual(ids(again), ["q1", "a1", "q2", "a2"]);
  assert.deepEqual(again.siblings("a2"), ["a2", "a2b"]);
});

test("the model sees the way to the question, without answers that came to nothing", () => {
  const chat = talk();
  chat.node("a1").text = "";
  assert.deepEqual(chat.input("q2"), [{ role: "user", content: "q1\n\nq2" }]);
  chat.node("a1").text = "half an answer";
  assert.deepEqual(chat.input("q2").map(({ role }) => role), ["user", "assistant", "user"]);
});

test("settings travel only when they are set", () => {
  const chat = talk();
  assert.deepEqual(Object.keys(requestFor(chat, "q1", "m")), ["model", "store", "input"]);
  chat.data.settings = { instructions: "Be brief.", temperature: 0, max_output_tokens: 9 };
  assert.deepEqual(requestFor(chat, "q1", "m"), {
    model: "m", input: [{ role: "user", content: "q1" }], store: false, instructions: "Be brief.", temperature: 0, max_output_tokens: 9,
  });
});

test("two tabs that wrote into one chat keep the messages of both", () => {
  const here = talk();
  const there = new Conversation(structuredClone(here.data));
  here.add(message("q3", "a2", "user"));
  there.add(message("a2b", "q2", "assistant"));
  const both = new Conversation(merge(there.data, here.data));
  assert.deepEqual(Object.keys(both.data.nodes).sort(), ["a1", "a2", "a2b", "q1", "q2", "q3"]);
});

test("of an answer that two tabs know, the further one stays", () => {
  const running = talk();
  Object.assign(running.node("a2"), { status: "running", text: "half" });
  const ended = structuredClone(running.data);
  Object.assign(ended.nodes.a2, { status: "done", text: "half and the rest" });
  const closed = interruptRunning(structuredClone(running.data));
  for (const [a, b] of [[ended, running.data], [running.data, ended], [closed, ended], [ended, closed]])
    assert.equal(merge(a, b).nodes.a2.status, "done");
});

test("a retry that is being written stays before the failure in whose place it stands", () => {
  const failed = talk().data;
  Object.assign(failed.nodes.a1, { status: "failed", text: "" });
  const again = new Conversation(structuredClone(failed));
  again.reset("a1", { status: "running" }).text = "half";
  for (const [a, b] of [[failed, again.data], [again.data, failed]]) assert.equal(merge(a, b).nodes.a1.text, "half");
});

test("of what another tab stored only the messages that are others become new objects", () => {
  const { data } = talk();
  const stored = structuredClone(data);
  assert.equal(adopted(stored, data), null);
  stored.nodes.a2.text = "a2, longer";
  stored.nodes.q3 = message("q3", "a2", "user");
  const { nodes } = adopted(stored, data);
  assert.equal(nodes.a1, data.nodes.a1);
  assert.deepEqual([nodes.a2.text, nodes.q3.text], ["a2, longer", "q3"]);
});

test("a name that a person gave in one tab is taken over by the others", () => {
  const { data } = talk();
  const named = new Conversation(structuredClone(data));
  named.rename("Mine");
  const { title, nodes } = adopted(named.data, data);
  assert.equal(title, "Mine");
  assert.equal(nodes.a1, data.nodes.a1);
  assert.equal(merge(named.data, data).title, "Mine"); // also by one that writes before it heard of it
  data.title = "Old";
  data.named = true;
  assert.equal(merge(data, named.data).title, "Mine"); // the later of two
});

test("an answer goes on from where its page left it, not from what was stored since, and not when it has ended", () => {
  const left = talk();
  Object.assign(left.node("a2"), { status: "running", text: "half" });
  const stored = structuredClone(left.data);
  assert.equal(goneOn(undefined, structuredClone(left.data), "a2").node("a2").text, "half");
  stored.nodes.a2.text = "half and more";
  for (const status of ["running", "interrupted"]) {
    stored.nodes.a2.status = status;
    const { text, status: now } = goneOn(stored, structuredClone(left.data), "a2").node("a2");
    assert.deepEqual([text, now], ["half", "running"]);
  }
  stored.nodes.a2.status = "done";
  assert.equal(goneOn(stored, structuredClone(left.data), "a2"), null);
});

test("only messages can be chosen", () => {
  const { data } = talk();
  const chat = new Conversation(checked({ ...data, chosen: { root: "constructor", a1: "__proto__" } }));
  assert.deepEqual(ids(chat), ["q1", "a1", "q2", "a2"]);
});

test("a chat that is imported comes back as it was, without what we do not know", () => {
  const { data } = talk();
  const found = JSON.parse(JSON.stringify(data));
  found.evil = found.nodes.a1.evil = "<script>";
  assert.deepEqual(checked(found), data);
});

test("an import that is no tree is refused", () => {
  const circle = structuredClone(talk().data);
  circle.nodes.q1.parent = "a2";
  const orphan = structuredClone(talk().data);
  orphan.nodes.q2.parent = "nobody";
  for (const wrong of [null, {}, { id: "x" }, circle, orphan]) assert.throws(() => checked(wrong), TypeError);
});

test("titles are the first words of a question", () => {
  assert.equal(titleOf("  Hello   there\nmore"), "Hello there");
  assert.equal(titleOf("word ".repeat(40)), `${"word ".repeat(11)}word…`);
  assert.equal(titleOf("   "), "New chat");
});

const answer = () => ({ ...message("a", null, "assistant", ""), status: "running" });
const delta = (text) => ({ type: "response.output_text.delta", delta: text });
const usage = { input_tokens: 3, output_tokens: 100 };

test("text, times and usage come together in the message", () => {
  const node = answer();
  assert.equal(take(node, { type: "response.created", response: {} }, 5), null);
  assert.equal(take(node, delta("Hel"), 250), "text");
  take(node, delta("lo"), 400);
  assert.equal(take(node, { type: "response.completed", response: { usage } }, 2250), "end");
  assert.equal(node.text, "Hello");
  assert.equal(node.status, "done");
  assert.deepEqual(speed(node), ["first token 0.25 s", "50.0 tok/s", "100 tokens"]);
});

test("what the gateway chose can be rated, and is told apart from what a person chose", () => {
  const node = answer();
  take(node, { type: "response.created", response: { id: "resp_1" } }, 5);
  take(node, { type: "streamlane:route", model: "named", backend: "b" }, 6);
  assert.deepEqual([node.response, node.routed, node.by], ["resp_1", undefined, undefined]);
  take(node, { type: "streamlane:route", model: "small", backend: "b", router: { score: 0.2 } }, 7);
  assert.deepEqual([node.routed, node.by], [true, "small"]);
  const byRule = answer();
  take(byRule, { type: "streamlane:route", model: "coder", backend: "b", rule: "code" }, 7);
  assert.deepEqual([byRule.routed, byRule.by], [true, "coder"]);
});

test("tokens that the backend did not count are no exact number, also after an export", () => {
  const node = answer();
  take(node, delta("Hello"), 250);
  take(node, { type: "response.incomplete", response: { usage: { input_tokens: 1, output_tokens: 97, sl_estimated: true } } }, 2250);
  assert.deepEqual(speed(node), ["first token 0.25 s", "49 tok/s", "about 97 tokens"]);
  const chat = talk();
  chat.node("a2").stats = node.stats;
  assert.equal(checked(chat.data).nodes.a2.stats.estimated, true);
});

test("without usage no speed is made up", () => {
  const node = answer();
  take(node, delta("Hello"), 1500);
  take(node, { type: "response.completed", response: { usage: null } }, 2000);
  assert.deepEqual(speed(node), ["first token 1.5 s"]);
});

test("reasoning is kept apart, with the time that it took", () => {
  const node = answer();
  take(node, { type: "response.reasoning_text.delta", delta: "Hm." }, 100);
  take(node, delta("Yes."), 1100);
  assert.deepEqual([node.reasoning, node.text, node.thought], ["Hm.", "Yes.", 1000]);
});

test("each end has its own word", () => {
  for (const [reason, status] of [["max_output_tokens", "cut"], ["cancelled", "stopped"], ["content_filter", "filtered"]]) {
    const node = answer();
    take(node, { type: "response.incomplete", response: { incomplete_details: { reason } } }, 1);
    assert.equal(node.status, status);
  }
});

test("a failure keeps the text and says why; a second one does not overwrite the first", () => {
  const node = answer();
  take(node, delta("half"), 1);
  take(node, { type: "response.failed", response: { error: { code: "backend_failed", message: "Broken." } } }, 2);
  fail(node, { code: "connection_lost", message: "Later." }, 3);
  assert.deepEqual([node.status, node.text, node.error.code], ["failed", "half", "backend_failed"]);
  assert.deepEqual(wordsFor(node.error).retry, true);
});

test("what is not known is still said in words", () => {
  const words = wordsFor({ code: "brand_new_code", message: "m", retryAfter: 2.5 });
  assert.match(words.advice, /wait 3 s/);
  assert.equal(words.retry, true);
  assert.equal(queueWords(2, "local"), "2 ahead of you at local");
  assert.equal(queueWords(0, "local"), "Your turn at local");
});

const NOW = Date.parse("2026-11-21T15:00:00Z");
const pool = (changed = {}) => ({
  id: "a", account: "mine", provider: "groq", model: null, metric: "requests", per: "day", cap: 100, margin: 0, used: 0, reserved: 0,
  left: 100, state: "open", free: true, opens_at: null, resets_at: null, lasts: null, spent_at: null, resting: null, rests_until: null, terms: [],
  share: { used: 0, part: 0 }, ...changed,
});

test("what is left today is the mean of the accounts, of their models, and of each what runs out first", () => {
  assert.equal(leftToday([]), null);
  assert.equal(leftToday([pool({ left: 40 })]), 0.4);
  assert.equal(leftToday([pool({ left: 40 }), pool({ account: "other", left: 100 })]), 0.7);
  assert.equal(leftToday([pool({ model: "x", left: 40 }), pool({ model: "x", metric: "tokens", left: 10 }), pool({ model: "y", left: 90 })]), 0.5);
  assert.equal(leftToday([pool({ left: 20 }), pool({ model: "x", left: 90 }), pool({ model: "y", left: 10 })]), (0.2 + 0.1) / 2);
});

test("what is back in a moment, what costs money and what is kept back say nothing of today", () => {
  const rest = [pool({ per: "minute", left: 0 }), pool({ per: null, left: 0 }), pool({ per: "5 hours", left: 0 }), pool({ account: "paid", free: false, left: 0 })];
  assert.equal(leftToday(rest), null);
  assert.equal(leftToday([...rest, pool({ margin: 20, left: 80 })]), 1);
  for (const per of ["week", "month", "31 days", "ever"]) assert.equal(leftToday([pool({ per, left: 30 })]), 0.3);
});

test("the button says how much, or when there is more", () => {
  assert.equal(summary([pool({ left: 72 })], NOW), "72% left today");
  assert.equal(summary([pool({ left: 100 })], NOW), "100% left today");
  assert.equal(summary([pool({ left: 1, cap: 1_000_000 })], NOW), "Nothing left today");
  assert.match(summary([pool({ left: 0, state: "spent", opens_at: "2026-11-21T18:00:00Z" })], NOW), /^Nothing left, more in 3 h \(.+\)$/);
  assert.equal(summary([pool({ per: "minute" })], NOW), "Quota");
});

test("news replace what they are of, and others stay", () => {
  const [one, two] = [pool({ id: "1" }), pool({ id: "2" })];
  const news = [pool({ id: "2", left: 1 }), pool({ id: "3", left: 2 })];
  assert.deepEqual(merged([one, two], news).map(({ id, left }) => [id, left]), [["1", 100], ["2", 1], ["3", 2]]);
});

test("the list is by account, without short windows of which nothing is used", () => {
  const shown = byAccount([pool({ id: "1" }), pool({ id: "2", per: "minute" }), pool({ id: "3", per: "minute", used: 1 }), pool({ id: "4", account: "other" })]);
  assert.deepEqual(shown.map(([account, pools]) => [account, pools.map(({ id }) => id)]), [["mine", ["1", "3"]], ["other", ["4"]]]);
});

test("a pool is told in words", () => {
  assert.equal(limitOf(pool({ cap: 1000 })), `${(1000).toLocaleString()} requests per day`);
  assert.match(limitOf(pool({ metric: "usd_micros", per: "ever", cap: 5_000_000 })), /5[.,]00.* in all$/);
  assert.equal(limitOf(pool({ metric: "concurrent_requests", per: null, cap: 2 })), "2 at once");
  const [left, back, forecast, mine] = stateOf(pool({
    left: 58, used: 42, resets_at: "2026-11-22T00:00:00Z", spent_at: "2026-11-21T20:00:00Z", share: { used: 21, part: 0.5 } }), NOW);
  assert.equal(left, "58 left");
  assert.match(back, /^all again in 9 h \(.+\)$/);
  assert.match(forecast, /^spent by .+ at this pace$/);
  assert.equal(mine, "21 used by you (50%)");
  assert.deepEqual(stateOf(pool({ state: "spent", left: 0, opens_at: "2026-11-21T15:00:20Z" }), NOW), ["nothing left", "more in 20 s"]);
  assert.deepEqual(stateOf(pool({ state: "closed", left: 0 }), NOW), ["closed by its provider"]);
  assert.deepEqual(stateOf(pool({ per: null, state: "spent", left: 0 }), NOW), ["all in use"]);
  assert.deepEqual(stateOf(pool({ resets_at: "2026-11-21T14:59:00Z" }), NOW), ["100 left"]); // told a while ago
});

test("how far away something is, is said in one unit", () => {
  assert.equal(soon(NOW + 500, NOW), "in 1 s");
  assert.match(soon(NOW + 59.9 * 60_000, NOW), /^in 1 h/);
  assert.match(soon(NOW + 3 * 86_400_000, NOW), /^in 3 d/);
});

test("who is not asked now says why, and when it is again", () => {
  const busy = { resting: "It is not asked now: it is busy.", rests_until: "2026-11-21T15:00:20Z" };
  assert.equal(restOf([pool()], NOW), "");
  assert.equal(restOf([pool(busy), pool(busy)], NOW), "It is not asked now: it is busy. Again in 20 s.");
  assert.equal(restOf([pool(busy), pool({ model: "x" })], NOW), ""); // not all of them
  assert.equal(restOf([pool(busy)], NOW + 20_000), ""); // told a while ago
  assert.equal(restOf([pool({ resting: "Its key was refused." })], NOW), "Its key was refused.");
  assert.equal(byAccount([pool({ per: "minute", resting: "Its key was refused." })]).length, 1);
});

test("only terms that matter to who writes are told", () => {
  assert.equal(termsOf([pool({ terms: ["card", "trains"] }), pool({ terms: ["trains"] })]), "Its provider may train on what you write.");
  assert.equal(termsOf([pool({ terms: ["card", "constructor"] })]), "");
});

test("who waits for quota is told how long, and who waits for a backend where", () => {
  const queue = (position, opens_in) => waitWords({ type: "streamlane:queue", position, opens_in });
  assert.equal(queue(1, 12.3), "Waiting for free quota, more in 13 s");
  assert.equal(queue(3, 600), "Waiting for free quota, 2 ahead of you, more in 10 min");
  assert.equal(queue(1, null), "Waiting for free quota");
  assert.equal(waitWords({ type: "streamlane:route", queue_position: 2, backend: "b" }), queueWords(2, "b"));
});

test("news of quota are no part of an answer", () => {
  const node = { status: "running", text: "" };
  assert.equal(take(node, { type: "streamlane:quota", pools: [] }, 5), "quota");
  assert.deepEqual(node, { status: "running", text: "" });
});
