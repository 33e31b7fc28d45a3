"""What reading a token of Gemini's costs, beside a token of a chat completion."""

import time
from collections.abc import Sequence

import pytest

from backends import chat_decode, gemini_decode
from backends.json import dumps
from backends.sse import SseDecoder

TOKENS, ROUNDS = 500, 60
MOST = 1.5  # times a chat completion's, of which this API's messages have twice the length


def chat_message() -> bytes:
    choice = {"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}
    common = {"id": "chatcmpl-9kd83jdks93jd83jdk3", "object": "chat.completion.chunk", "created": 1795251600}
    return b"data: " + dumps({**common, "model": "gpt", "system_fingerprint": "fp_1", "choices": [choice]}) + b"\n\n"


def gemini_message() -> bytes:
    candidate = {"content": {"parts": [{"text": " word"}], "role": "model"}, "index": 0}
    details = [{"modality": "TEXT", "tokenCount": 812}]
    usage = {
        "promptTokenCount": 812,
        "candidatesTokenCount": 77,
        "totalTokenCount": 889,
        "promptTokensDetails": details,
    }
    common = {"modelVersion": "gemini-3.5-flash", "responseId": "Il0taoSYJ5Cez7IPwqfa2QY"}
    return b"data: " + dumps({"candidates": [candidate], "usageMetadata": usage, **common}) + b"\r\n\r\n"


def seconds(dialect: type[chat_decode.Decoder | gemini_decode.Decoder], messages: Sequence[bytes]) -> float:
    """CPU time of one answer, from the network's reads to events."""
    framing, decoder = SseDecoder(), dialect()
    started = time.process_time()
    for each in messages:
        for message in framing.feed(each):
            assert decoder.feed(message)
    return time.process_time() - started


@pytest.mark.slow
def test_a_token_costs_little_more_than_a_chat_completions() -> None:
    """Measured in turns, the best of many: whatever else the machine does, it does to both."""
    chats, geminis = [chat_message()] * TOKENS, [gemini_message()] * TOKENS
    rounds = [(seconds(chat_decode.Decoder, chats), seconds(gemini_decode.Decoder, geminis)) for _ in range(ROUNDS)]
    chat, gemini = (min(each) for each in zip(*rounds, strict=True))
    print(f"\nchat {chat / TOKENS * 1e6:.2f} us, gemini {gemini / TOKENS * 1e6:.2f} us a token: {gemini / chat:.2f}")
    assert gemini <= MOST * chat
