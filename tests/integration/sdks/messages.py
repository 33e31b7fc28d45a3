"""What any Anthropic SDK for Python does with messages: messages.py ORIGIN. Prints JSON."""

import json
import sys

from anthropic import Anthropic, NotFoundError

SAY = {"max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
client = Anthropic(base_url=sys.argv[1], api_key="unused", max_retries=0)
whole = client.messages.create(model="fake", **SAY)
found = {"whole": whole.content[0].text, "why": whole.stop_reason, "tokens": whole.usage.output_tokens}
with client.messages.stream(model="fake", **SAY) as stream:
    found["streamed"] = "".join(stream.text_stream)
    found["final"] = stream.get_final_message().content[0].text
try:
    client.messages.create(model="none", **SAY)
except NotFoundError as error:
    found["error"] = error.body["error"]["type"]
print(json.dumps(found))
