/** What is left of the accounts behind the gateway, in words and parts. Pure: the time is an argument. */

/**
 * A pool as GET /v1/quota shows it.
 * @typedef {{id: string, account: string, provider: string, model: string | null, metric: string, per: string | null,
 *   cap: number, margin: number, used: number, reserved: number, left: number, state: "open" | "spent" | "closed",
 *   free: boolean, opens_at: string | null, resets_at: string | null, lasts: boolean | null, spent_at: string | null,
 *   resting: string | null, rests_until: string | null, terms: string[],
 *   share: {used: number, part: number}}} Pool
 */

const LASTING = /^(day|week|month|ever|\d+ days)$/; // the others are back before one has missed them
/** What somebody who writes here should know of an account. @type {Record<string, string>} */
const TERMS = {
  trains: "its provider may train on what you write",
  logged: "its provider keeps what you write",
  evaluation_only: "its provider gives it for evaluation only",
  no_eea: "it must not be offered to people in the EEA, Switzerland or the UK",
};

/** @param {Pool} pool */
const isLasting = ({ per }) => per !== null && LASTING.test(per);
/** Whether it says something of today. @param {Pool} pool */
const isToday = (pool) => pool.free && isLasting(pool);

/** How much of it is left, from 0 to 1. @param {Pool} pool */
export const part = ({ cap, margin, left }) => (cap > margin ? Math.min(1, left / (cap - margin)) : 0);

/**
 * How much of today is left over all free accounts, from 0 to 1: of each account the mean of its models, of each model
 * what runs out first. Null where no account has an amount that lasts a day.
 * @param {Pool[]} pools
 */
export function leftToday(pools) {
  /** @type {Map<string, Map<string, number>>} */
  const accounts = new Map();
  for (const pool of pools.filter(isToday)) {
    const models = accounts.get(pool.account) ?? new Map();
    const model = pool.model ?? "";
    models.set(model, Math.min(models.get(model) ?? 1, part(pool)));
    accounts.set(pool.account, models);
  }
  const parts = [...accounts.values()].map((models) => {
    const whole = models.get("") ?? 1;
    const each = [...models].filter(([model]) => model !== "").map(([, left]) => Math.min(whole, left));
    return mean(each.length ? each : [whole]);
  });
  return parts.length ? mean(parts) : null;
}

/** When there is some again, where all of today is spent. @param {Pool[]} pools @returns {number | null} Unix ms */
export function opensAt(pools) {
  const times = pools.filter(isToday).flatMap(({ opens_at }) => (opens_at ? [Date.parse(opens_at)] : []));
  return times.length ? Math.min(...times) : null;
}

/** With what is newer of some of them. @param {Pool[]} pools @param {Pool[]} news @returns {Pool[]} */
export function merged(pools, news) {
  const newer = new Map(news.map((pool) => [pool.id, pool]));
  const known = new Set(pools.map(({ id }) => id));
  return [...pools.map((pool) => newer.get(pool.id) ?? pool), ...news.filter(({ id }) => !known.has(id))];
}

/** By account, without what says nothing: short windows of which nothing is used, unless they rest. @param {Pool[]} pools @returns {[string, Pool[]][]} */
export function byAccount(pools) {
  /** @type {Map<string, Pool[]>} */
  const accounts = new Map();
  for (const pool of pools)
    if (isLasting(pool) || pool.used || pool.reserved || pool.state !== "open" || pool.resting)
      accounts.set(pool.account, [...(accounts.get(pool.account) ?? []), pool]);
  return [...accounts];
}

/** What the button says. @param {Pool[]} pools @param {number} now Unix ms */
export function summary(pools, now) {
  const left = leftToday(pools);
  if (left === null) return "Quota";
  if (left >= 0.005) return `${Math.round(left * 100)}% left today`;
  const opens = opensAt(pools);
  return opens === null ? "Nothing left today" : `Nothing left, more ${soon(opens, now)}`;
}

/** "1,000 requests per day" @param {Pool} pool */
export function limitOf({ metric, per, cap }) {
  if (per === null) return `${cap.toLocaleString()} at once`;
  const unit = metric === "usd_micros" ? "" : ` ${metric.replaceAll("_", " ")}`;
  return `${amount(metric, cap)}${unit} ${per === "ever" ? "in all" : `per ${per}`}`;
}

/** What is left, and what is next: ["587 left", "all again in 9 h"]. @param {Pool} pool @param {number} now Unix ms @returns {string[]} */
export function stateOf(pool, now) {
  const { metric, per, state, opens_at: opens, resets_at: resets, spent_at: spent, share } = pool;
  const words = [state === "open" ? `${amount(metric, pool.left)} left` : state === "closed" ? "closed by its provider" : per === null ? "all in use" : "nothing left"];
  if (state !== "open" && opens && opens !== resets) words.push(`more ${soon(Date.parse(opens), now)}`);
  if (resets && Date.parse(resets) > now) words.push(`all again ${soon(Date.parse(resets), now)}`);
  if (spent) words.push(`spent by ${clock(Date.parse(spent), now)} at this pace`);
  if (share.used && share.part < 1) words.push(`${amount(metric, share.used)} used by you (${Math.round(share.part * 100)}%)`);
  return words;
}

/** Why all of them, or none, are not asked now. @param {Pool[]} pools @param {number} now Unix ms @returns {string} "" for nothing */
export function restOf(pools, now) {
  const said = new Set(pools.map(({ resting, rests_until: until }) => {
    if (!resting || (until && Date.parse(until) <= now)) return "";
    return until ? `${resting} Again ${soon(Date.parse(until), now)}.` : resting;
  }));
  return said.size === 1 ? [...said][0] : "";
}

/** What the terms of an account's provider want one to know. @param {Pool[]} pools @returns {string} "" for nothing */
export function termsOf(pools) {
  const known = [...new Set(pools.flatMap(({ terms }) => terms))].filter((term) => Object.hasOwn(TERMS, term));
  const words = known.map((term) => TERMS[term]).join("; ");
  return words && `${words[0].toUpperCase()}${words.slice(1)}.`;
}

/** "in 9 h (00:00)" @param {number} at @param {number} now both Unix ms */
export function soon(at, now) {
  const left = Math.max(0, at - now);
  return left < 60_000 ? `in ${Math.ceil(left / 1000)} s` : `in ${length(left)} (${clock(at, now)})`;
}

/** @param {string} metric @param {number} value */
function amount(metric, value) {
  if (metric !== "usd_micros") return value.toLocaleString();
  return (value / 1_000_000).toLocaleString(undefined, { style: "currency", currency: "USD" });
}

/** @param {number} ms from a minute on */
function length(ms) {
  const minutes = ms / 60_000;
  return minutes < 59.5 ? `${Math.round(minutes)} min` : minutes < 1410 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} d`;
}

/** As short as it can be said today. @param {number} at @param {number} now both Unix ms */
function clock(at, now) {
  const [moment, today] = [new Date(at), new Date(now)];
  const time = moment.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  if (moment.toDateString() === today.toDateString()) return time;
  if (at - now < 6 * 86_400_000) return `${moment.toLocaleDateString(undefined, { weekday: "short" })} ${time}`;
  return moment.toLocaleDateString(undefined, { day: "numeric", month: "short" });
}

/** @param {number[]} parts */
function mean(parts) {
  return parts.reduce((sum, each) => sum + each, 0) / parts.length;
}
