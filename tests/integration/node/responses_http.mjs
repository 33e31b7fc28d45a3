// Asks the Responses API over HTTP with the official OpenAI SDK for Node: node responses_http.mjs BASE_URL MODEL
// Prints what it got, as one JSON object.
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const [baseURL, model] = process.argv.slice(2);
const { responses } = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });
const found = {};

async function text(stream) {
  let said = "";
  for await (const event of stream) if (event.type === "response.output_text.delta") said += event.delta;
  return said;
}

const whole = await responses.create({ model, input: "hi" });
found.create = whole.output_text;
found.stream = await text(await responses.create({ model, input: "hi", stream: true }));
found.helper = (await responses.stream({ model, input: "hi" }).finalResponse()).output_text;
found.retrieve = (await responses.retrieve(whole.id)).output_text;
found.again = await text(await responses.retrieve(whole.id, { stream: true, starting_after: 1 }));
found.items = (await responses.inputItems.list(whole.id)).data.map((item) => item.content[0].text);
found.cancelled = (await responses.cancel(whole.id)).status;
found.continued = (await responses.create({ model, input: "more", previous_response_id: whole.id })).output_text;
const city = zodTextFormat(z.object({ city: z.string() }), "city");
found.parsed = (await responses.parse({ model, input: "Which?", text: { format: city } })).output_parsed;

const slow = await responses.create({ model: "slow", input: "hi", background: true });
found.background = slow.status;
found.stopped = (await responses.cancel(slow.id)).status;

await responses.delete(whole.id);
found.refusals = [];
for (const ask of [() => responses.retrieve(whole.id), () => responses.create({ model: "nobody", input: "hi" })]) {
  await ask().catch((error) => found.refusals.push([error.status, error.code, Boolean(error.requestID)]));
}
console.log(JSON.stringify(found));
