// Five lanes on one socket with any OpenAI SDK for Node that has ResponsesWS: lanes.mjs BASE_URL. Prints JSON.
import OpenAI from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";

const connection = new ResponsesWS(new OpenAI({ baseURL: process.argv[2], apiKey: "unused" }));
const said = {};
const ends = [];
const lanes = ["a", "b", "c", "d", "e"];
for (const stream_id of lanes) connection.send({ type: "response.create", model: "fake", input: "hi", stream_id });
for await (const event of connection) {
  if (event.type !== "message") continue;
  const { type, stream_id, delta } = event.message;
  if (type === "response.output_text.delta") said[stream_id] = (said[stream_id] ?? "") + delta;
  if (["response.completed", "response.incomplete", "response.failed", "error"].includes(type)) ends.push(type);
  if (ends.length === lanes.length) break;
}
connection.close();
console.log(JSON.stringify({ said, ends: [...new Set(ends)] }));
