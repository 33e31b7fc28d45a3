// Asks a gateway over HTTP with unmodified SDKs: node apis.mjs BASE_URL CASE. Prints what it got as JSON.
// The model calls the tool "weather" when it is offered, and answers in words when it is not, or was called.
import { createOpenAI } from "@ai-sdk/openai";
import { embedMany, generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";

const [baseURL, name] = process.argv.slice(2);
const openai = new OpenAI({ baseURL, apiKey: "none-needed" });
const provider = createOpenAI({ baseURL, apiKey: "none-needed" });
const messages = [{ role: "user", content: "hi" }];
const parameters = { type: "object", properties: { place: { type: "string" } }, required: ["place"] };
const weather = tool({
  description: "The weather of a place.",
  inputSchema: jsonSchema(parameters),
  execute: async ({ place }) => `sunny in ${place}`,
});

/** Streams with the AI SDK, which runs the tool and asks again by itself. */
async function streamed(model) {
  const result = streamText({ model, prompt: "hi", tools: { weather }, stopWhen: stepCountIs(3) });
  let text = "";
  for await (const piece of result.textStream) text += piece;
  const steps = await result.steps;
  return {
    text,
    results: steps.flatMap((step) => step.toolResults.map((one) => one.output)),
    finish: await result.finishReason,
    tokens: (await result.totalUsage).outputTokens,
  };
}

async function whole(model) {
  const { text, finishReason, usage } = await generateText({ model, prompt: "hi" });
  return { text, finish: finishReason, tokens: usage.outputTokens };
}

async function object(model) {
  const schema = jsonSchema({ type: "object", properties: { name: { type: "string" } }, required: ["name"] });
  const { output } = await generateText({ model, prompt: "hi", output: Output.object({ schema }) });
  return output;
}

const CASES = {
  async "openai chat"() {
    const stream = openai.chat.completions.stream({ model: "fake", messages });
    let text = "";
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    const { choices } = await openai.chat.completions.create({ model: "fake", messages, n: 2 });
    return { text, final: await stream.finalContent(), whole: choices.map((choice) => choice.message.content) };
  },
  async "openai tools"() {
    const runner = openai.chat.completions.runTools({
      model: "fake",
      messages,
      stream: true,
      tools: [
        {
          type: "function",
          function: { name: "weather", parameters, parse: JSON.parse, function: ({ place }) => `sunny in ${place}` },
        },
      ],
    });
    return { text: await runner.finalContent(), roles: runner.messages.map((message) => message.role) };
  },
  async "openai embeddings"() {
    const { data } = await openai.embeddings.create({ model: "fake", input: ["a", "b"] });
    return data.map((one) => one.embedding.length);
  },
  async "openai error"() {
    const error = await openai.chat.completions.create({ model: "nope", messages }).catch((caught) => caught);
    return { status: error.status, code: error.code, id: Boolean(error.requestID) };
  },
  "ai chat stream": () => streamed(provider.chat("fake")),
  "ai chat": () => whole(provider.chat("fake")),
  "ai chat object": () => object(provider.chat("fake")),
  "ai responses stream": () => streamed(provider.responses("fake")),
  "ai responses": () => whole(provider.responses("fake")),
  "ai responses object": () => object(provider.responses("fake")),
  "ai completion": () => whole(provider.completion("fake")),
  async "ai embeddings"() {
    const { embeddings } = await embedMany({ model: provider.embedding("fake"), values: ["a", "b"] });
    return embeddings.map((one) => one.length);
  },
};

console.log(JSON.stringify(await CASES[name]()));
