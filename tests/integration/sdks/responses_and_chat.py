"""What any OpenAI SDK for Python with the Responses API does over HTTP: responses_and_chat.py BASE_URL. Prints JSON."""

import json
import sys

from openai import NotFoundError, OpenAI

client = OpenAI(base_url=sys.argv[1], api_key="unused", max_retries=0)
whole = client.responses.create(model="fake", input="hi")
events = list(client.responses.create(model="fake", input="hi", stream=True))
found = {
    "whole": whole.output_text,
    "streamed": "".join(event.delta for event in events if event.type == "response.output_text.delta"),
    "end": events[-1].type,
    "retrieved": client.responses.retrieve(whole.id).output_text,
    "items": [item.content[0].text for item in client.responses.input_items.list(whole.id)],
}
client.responses.delete(whole.id)
try:
    client.responses.retrieve(whole.id)
except NotFoundError as error:
    found["gone"] = error.code

messages = [{"role": "user", "content": "hi"}]
chunks = list(
    client.chat.completions.create(model="fake", messages=messages, stream=True, stream_options={"include_usage": True})
)
found |= {
    "chat": client.chat.completions.create(model="fake", messages=messages).choices[0].message.content,
    "chunks": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
    "finish": [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1],
    "tokens": chunks[-1].usage.completion_tokens,
    "dimensions": len(client.embeddings.create(model="fake", input="hi").data[0].embedding),
    "models": [model.id for model in client.models.list()],
}
print(json.dumps(found))
