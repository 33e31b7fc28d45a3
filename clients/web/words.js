/** What went wrong, in plain words, and what helps. Pure. */

/** @typedef {{title: string, advice: string, retry: boolean, other: boolean, signIn: boolean, newChat: boolean}} Words */

/** code → [what happened, what helps, does trying again help, does another model help] */
/** @type {Record<string, [string, string, boolean, boolean]>} */
const WORDS = {
  connection_lost: ["The connection was lost.", "Your prompt is safe. Try again when the connection is back.", true, false],
  connection_failed: ["There is no connection to the gateway.", "Your prompt is safe. Try again when it is back.", true, false],
  session_taken: ["Another tab goes on with this.", "Look there, or try again here.", true, false],
  resume_gap: ["The connection was away for too long.", "Your prompt is safe. Try again.", true, false],
  already_answered: ["The answer was sent, and is not held any more.", "Your prompt is safe. Try again.", true, false],
  client_closed: ["The connection was closed.", "Your prompt is safe. Try again.", true, false],
  model_not_found: ["This model is not here any more.", "Choose another model.", false, true],
  router_not_found: ["The gateway has no router of this name.", "Choose another model.", false, true],
  model_ambiguous: ["Several backends serve a model of this name.", "Choose the one that you mean.", false, true],
  context_length_exceeded: [
    "This conversation is too long for the model.", "Start a new chat, or choose a model with a longer context.", false, true],
  rate_limit_exceeded: ["Too many questions at once.", "Wait a moment, then try again.", true, true],
  too_many_queued_creates: ["Too many answers are waiting.", "Wait until one has ended, then try again.", true, false],
  too_many_running_responses: ["Too many answers are being written.", "Wait until one has ended, then try again.", true, false],
  backend_overloaded: ["The model is busy.", "Try again in a moment, or ask another model.", true, true],
  backend_unreachable: ["The model's server does not answer.", "Is it running? Try again, or ask another model.", true, true],
  backend_circuit_open: ["The model has failed several times and is left alone for a moment.", "Try again soon, or ask another model.", true, true],
  no_model_fits: ["No model here may answer that.", "Allow more, or ask another model.", false, true],
  backend_stream_broken: ["The model's server broke off in the middle.", "Try again.", true, true],
  backend_not_ready: ["The model is still being loaded.", "Try again in a moment, or ask another model.", true, true],
  model_load_failed: ["The model's server could not load it.", "Ask another model; its own log says why.", true, true],
  backend_failed: ["The model's server failed.", "Try again, or ask another model.", true, true],
  backend_protocol_error: ["The model's server said something that makes no sense.", "Ask another model.", true, true],
  backend_refused_request: ["The model's server refuses this request.", "Check the chat settings, or ask another model.", false, true],
  backend_authentication_failed: [
    "The model's server refuses the gateway's key.", "Whoever runs this gateway must renew it. Ask another model.", false, true],
  backend_key_needed: ["The model's server wants a key of your own.", "This page sends none. Ask another model.", false, true],
  content_filter: ["The provider's filter refused the question.", "Put it differently, or ask another model.", false, true],
  insufficient_quota: ["The gateway's account with the provider is used up.", "Ask another model, or try again later.", true, true],
  free_quota_exhausted: [
    "No free account can answer now.", "The meter above says why, and when there is more. Ask another model meanwhile.", true, true],
  request_too_large_for_quota: [
    "This is more than the account's quota allows at once.", "Ask for a shorter answer in the settings, or ask another model.", false, true],
  ledger_failed: ["The gateway cannot count what is spent.", "Whoever runs it must look at its log. Ask another model.", true, true],
  deadline_exceeded: ["It took too long.", "Try again, or ask another model.", true, true],
  engine_unavailable: ["The model cannot be loaded.", "Ask another model; the gateway's log says why.", true, true],
  too_many_sessions: ["Too many pages are open here.", "Close some, then try again.", true, false],
  too_much_feedback: ["That is as many ratings as count in a day.", "Go on tomorrow.", false, false],
  server_draining: ["The gateway is restarting.", "Try again in a moment.", true, false],
  invalid_parameter: ["Something in the chat settings is not right.", "Change it, then try again.", true, false],
  invalid_api_key: ["The key was not accepted.", "Sign in again.", false, false],
  internal_error: ["The gateway made a mistake.", "Try again. Its log tells more.", true, true],
};

/** @param {import("./tree.js").Problem} problem @returns {Words} */
export function wordsFor({ code, status, retryAfter }) {
  const [title, advice, retry, other] = Object.hasOwn(WORDS, code) ? WORDS[code] : ["The answer failed.", "Try again.", true, true];
  const wait = retryAfter ? ` The server asks to wait ${Math.ceil(retryAfter)} s.` : "";
  return { title, advice: advice + wait, retry, other, signIn: status === 401 || code === "invalid_api_key", newChat: code === "context_length_exceeded" };
}

/** What a reader is told instead of an answer's end. @param {string | undefined} status */
export function endingOf(status) {
  switch (status) {
    case "stopped": return "You stopped this answer.";
    case "cut": return "The answer reached its longest allowed length.";
    case "filtered": return "The model's provider cut this answer off.";
    case "interrupted": return "The answer broke off while this page, or its connection, was away.";
    default: return "";
  }
}

/** What somebody who waits is told of a `streamlane:route` or a `streamlane:queue`. @param {any} event */
export function waitWords(event) {
  if (event.type !== "streamlane:queue") return queueWords(event.queue_position, event.backend);
  const { position, opens_in: seconds } = event;
  const more = seconds ? `, more in ${seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`}` : "";
  return `Waiting for free quota${position > 1 ? `, ${position - 1} ahead of you` : ""}${more}`;
}

/** @param {number} position @param {string} backend */
export function queueWords(position, backend) {
  if (position <= 0) return backend ? `Your turn at ${backend}` : "Your turn";
  return `${position} ahead of you${backend ? ` at ${backend}` : ""}`;
}

/** What the connection's badge says. @param {string} state @param {number} [retryIn] seconds */
export function connectionWords(state, retryIn) {
  switch (state) {
    case "open": return "Connected";
    case "connecting": return "Connecting…";
    case "waiting": return retryIn ? `Reconnecting in ${Math.max(1, Math.ceil(retryIn))} s` : "Reconnecting…";
    case "offline": return "You are offline";
    default: return "Not connected";
  }
}
