/** What the events of a response make of the message that it writes. Pure: the time is an argument. */

/** @typedef {import("./tree.js").Message} Message */

const CUT = { max_output_tokens: "cut", content_filter: "filtered", cancelled: "stopped" };

/**
 * The create that answers the message `parent`.
 * @param {import("./tree.js").Conversation} conversation @param {string} parent @param {string} model
 */
export function requestFor(conversation, parent, model) {
  const { instructions, temperature, max_output_tokens } = conversation.data.settings;
  return {
    model,
    store: false, // the whole conversation goes with each question: the gateway need not keep it
    input: conversation.input(parent),
    ...(instructions?.trim() ? { instructions } : {}),
    ...(temperature === undefined ? {} : { temperature }),
    ...(max_output_tokens === undefined ? {} : { max_output_tokens }),
  };
}

/**
 * Take one event. `elapsed` is milliseconds since the send.
 * @param {Message} node @param {any} event @param {number} elapsed
 * @returns {"text" | "reasoning" | "route" | "quota" | "end" | null} what a reader of the page would notice
 */
export function take(node, event, elapsed) {
  switch (event.type) {
    case "response.output_text.delta":
    case "response.refusal.delta":
      first(node, elapsed);
      if (node.reasoning && node.thought === undefined) node.thought = elapsed - (node.stats?.first ?? 0);
      node.text += event.delta;
      return "text";
    case "response.reasoning_text.delta":
    case "response.reasoning_summary_text.delta":
      first(node, elapsed);
      node.reasoning = (node.reasoning ?? "") + event.delta;
      return "reasoning";
    case "response.created":
      node.response = event.response.id;
      return null;
    case "streamlane:route":
      if (event.rule !== undefined || event.router !== undefined) Object.assign(node, { routed: true, by: event.model });
      return "route";
    case "streamlane:queue":
      return "route";
    case "streamlane:quota":
      return "quota";
    case "response.completed":
      end(node, "done", event.response, elapsed);
      return "end";
    case "response.incomplete": {
      const reason = event.response.incomplete_details?.reason;
      end(node, CUT[/** @type {keyof typeof CUT} */ (reason)] ?? "stopped", event.response, elapsed);
      return "end";
    }
    case "response.failed":
      end(node, "failed", event.response, elapsed);
      node.error = { code: "internal_error", message: "The answer failed.", ...event.response.error };
      return "end";
    default:
      return null;
  }
}

/** The answer broke off: refused, failed, or the connection is gone. @param {Message} node @param {any} error @param {number} elapsed */
export function fail(node, error, elapsed) {
  if (node.status !== "running") return;
  const { code, message, status, retryAfter } = error;
  end(node, "failed", {}, elapsed);
  node.error = { code: code ?? "client_error", message, ...(status ? { status } : {}), ...(retryAfter ? { retryAfter } : {}) };
}

/** Words on how fast it was: ["first token 0.31 s", "42.1 tok/s", "128 tokens"]; "about 128 tokens" where they are estimated. @param {Message} node @returns {string[]} */
export function speed({ stats = {}, status }) {
  const words = [];
  const about = stats.estimated ? "about " : "";
  if (stats.first !== undefined) words.push(`first token ${seconds(stats.first)}`);
  if (stats.output && stats.total !== undefined && stats.first !== undefined && stats.total - stats.first >= 20)
    words.push(`${((stats.output * 1000) / (stats.total - stats.first)).toFixed(stats.estimated ? 0 : 1)} tok/s`);
  if (stats.output !== undefined) words.push(`${about}${stats.output} ${stats.output === 1 ? "token" : "tokens"}`);
  return status === "running" ? [] : words;
}

/** @param {number} ms */
export function seconds(ms) {
  return ms < 9950 ? `${(ms / 1000).toFixed(ms < 995 ? 2 : 1)} s` : `${Math.round(ms / 1000)} s`;
}

/** @param {Message} node @param {number} elapsed */
function first(node, elapsed) {
  node.stats ??= {};
  node.stats.first ??= elapsed;
}

/** @param {Message} node @param {any} status @param {any} response @param {number} elapsed */
function end(node, status, response, elapsed) {
  node.status = status;
  const { input_tokens: input, output_tokens: output, sl_estimated: estimated } = response.usage ?? {};
  node.stats = { ...node.stats, total: elapsed, ...(output === undefined ? {} : { input, output }), ...(estimated ? { estimated } : {}) };
}
