// Streams one answer with the official OpenAI SDK for Node: node responses.mjs BASE_URL MODEL PROMPT
// Prints the text as it comes. Exits 0 when the response is completed, 1 on anything else.
import OpenAI from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";

const [baseURL, model, input] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: process.env.OPENAI_API_KEY ?? "unused" });
const connection = new ResponsesWS(client);

function fail(reason) {
  console.error(reason);
  connection.close();
  process.exitCode = 1;
}

process.exitCode = 1; // until the response is completed
connection.on("error", (error) => fail(error.message));
connection.on("response.output_text.delta", (event) => process.stdout.write(event.delta));
connection.on("response.failed", (event) => fail(event.response.error.message));
connection.on("response.incomplete", (event) => fail(`incomplete: ${event.response.incomplete_details.reason}`));
connection.on("response.completed", () => {
  process.exitCode = 0;
  connection.close();
});
connection.send({ type: "response.create", model, input });
