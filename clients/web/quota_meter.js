/** The meter of what is left today, and the sheet behind it with each pool. There is none where there is no account. */

import { byId, h } from "./dom.js";
import * as dialogs from "./dialogs.js";
import { byAccount, leftToday, limitOf, merged, part, restOf, stateOf, summary, termsOf } from "./quota.js";

/** @typedef {import("./quota.js").Pool} Pool */

const LOW = 0.2; // from here on the bar has another colour

export class QuotaMeter {
  /** @param {{status: string, client?: any}} gateway */
  constructor(gateway) {
    this.gateway = gateway;
    /** @type {Pool[]} */
    this.pools = [];
    this.attempt = 0;
    this.button = byId("quota");
    this.button.addEventListener("click", () => {
      dialogs.open("quota-sheet");
      void this.refresh();
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.pools.length) void this.refresh();
    });
  }

  /** Ask for all of them. That the gateway does not answer is for others to say. */
  async refresh() {
    if (this.gateway.status !== "ready") return;
    const attempt = (this.attempt += 1);
    const pools = await this.gateway.client.quota().catch(() => null);
    if (pools && attempt === this.attempt) this.#show(pools);
  }

  /** Some of them have changed. @param {Pool[]} news */
  take(news) {
    this.attempt += 1; // an answer on its way is older
    this.#show(merged(this.pools, news));
  }

  /** @param {Pool[]} pools */
  #show(pools) {
    this.pools = pools;
    const now = Date.now();
    const words = summary(pools, now);
    const left = leftToday(pools);
    this.button.hidden = pools.length === 0;
    this.button.replaceChildren(...(left === null ? [] : [bar(left)]), h("span", { class: "quota-words" }, words));
    this.button.setAttribute("aria-label", `${words}. Show each account`);
    this.button.title = words; // on a phone it is a bar
    byId("quota-list").replaceChildren(...byAccount(pools).map(([account, own]) => section(account, own, now)));
  }
}

/** @param {string} account @param {Pool[]} pools @param {number} now */
function section(account, pools, now) {
  const terms = termsOf(pools);
  const [{ provider }] = pools;
  const models = [...new Set(pools.map(({ model }) => model))];
  const rests = restOf(pools, now);
  return h("section", { class: "quota-account" },
    h("h3", {}, account, provider && provider !== account && h("span", { class: "hint" }, provider)),
    rests && h("p", { class: "rests" }, rests),
    terms && h("p", { class: "hint" }, terms),
    ...models.flatMap((model) => {
      const own = pools.filter((pool) => pool.model === model);
      const why = rests ? "" : restOf(own, now);
      return [
        (model !== null || models.length > 1) && h("h4", {}, model ?? "All models"),
        why && h("p", { class: "rests" }, why),
        h("ul", {}, ...own.map((pool) => line(pool, now))),
      ];
    }).filter(Boolean));
}

/** @param {Pool} pool @param {number} now */
function line(pool, now) {
  const shown = bar(part(pool));
  const said = stateOf(pool, now).join(", ");
  return h("li", { class: pool.state === "open" ? "" : "out" }, h("span", {}, limitOf(pool)), shown, h("span", { class: "hint" }, said));
}

/** A picture of words that stand beside it. @param {number} left from 0 to 1 */
function bar(left) {
  const full = h("span", { class: "quota-left" });
  full.style.width = `${left * 100}%`;
  return h("span", { class: left < LOW ? "quota-bar low" : "quota-bar", "aria-hidden": "true" }, full);
}
