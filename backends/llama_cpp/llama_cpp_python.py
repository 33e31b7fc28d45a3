"""The serial engine: llama-cpp-python, a binding of llama.cpp's C functions, for one request at a time.

We call the C functions themselves. The binding's own `Llama` points the whole process' stdout and stderr elsewhere
while it loads, cannot stop while it reads a prompt, and detokenizes the answer again from its start at every token.
"""

import ctypes
import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import takewhile
from typing import Any

import llama_cpp as lib
import numpy as np
from jinja2 import TemplateError
from llama_cpp.llama_chat_format import CHATML_CHAT_TEMPLATE, Jinja2ChatFormatter

from backends.errors import (
    BackendError,
    ContextLengthExceeded,
    EngineUnavailable,
    InvalidRequest,
    ServerFailed,
    UnsupportedFeature,
)
from backends.json import dumps
from backends.llama_cpp.answer_text import AnswerText
from backends.llama_cpp.engine import PROMPT_BATCH, Put, Setup, could_not_load
from backends.llama_cpp.grammar import grammar_of
from backends.llama_cpp.likelihood import likelihood

# What llama.cpp's own server takes where a request says nothing.
TEMPERATURE, TOP_K, TOP_P, MIN_P, PENALIZED = 0.8, 40, 0.95, 0.05, 64
SEED_BITS = 32
ONLY = 0  # the one sequence in the context
TO_THE_END = -1
ALIVE = dumps({"choices": []})


def load(setup: Setup) -> "LlamaCppPython":
    """Load the model; blocks. Raises EngineUnavailable."""
    logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL + 1)  # it prints what llama.cpp logs
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(str(setup.model).encode(), lib.llama_model_default_params())
    params = lib.llama_context_default_params()
    params.n_ctx = setup.context
    params.n_batch = params.n_ubatch = PROMPT_BATCH
    params.n_threads = params.n_threads_batch = setup.threads
    context = lib.llama_init_from_model(model, params) if model else None
    if not context:
        if model:
            lib.llama_model_free(model)
        raise could_not_load(replace(setup, slots=1), "llama-cpp-python")
    engine = LlamaCppPython(model, context, setup.context)
    try:
        engine.template = Template(model)
    except TemplateError:
        engine.close()
        raise EngineUnavailable(
            f"llama-cpp-python does not understand the chat template of '{setup.model}'. Take another model, or set "
            '`engine` to "xllamacpp".'
        ) from None
    # Reads the weights, and what the template puts before every question: the first one need not wait for them.
    with suppress(BackendError):  # what is wrong with it, the first question will say
        engine.generate({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}, lambda _: False)
    return engine


class Template:
    """The model's own chat template; ChatML for a model that has none, as llama.cpp does."""

    def __init__(self, model: Any) -> None:
        """Raises TemplateError."""
        vocab = lib.llama_model_get_vocab(model)
        source = lib.llama_model_chat_template(model, None)
        self._bos = word(vocab, lib.llama_vocab_bos(vocab))
        # The tokenizer puts it in front by itself; a template that does too would make two of it.
        self._drop = self._bos if lib.llama_vocab_get_add_bos(vocab) else ""
        self._format = Jinja2ChatFormatter(
            template=source.decode() if source else CHATML_CHAT_TEMPLATE,
            bos_token=self._bos,
            eos_token=word(vocab, lib.llama_vocab_eos(vocab)),
        )

    def prompt(self, messages: list[dict[str, Any]]) -> str:
        """The conversation as the model was trained to read it. Raises InvalidRequest."""
        try:
            text: str = self._format(messages=messages).prompt
        except (TemplateError, ValueError, TypeError):  # raise_exception() in a template is a ValueError
            raise InvalidRequest(400, "messages") from None
        return text.removeprefix(self._drop)


class LlamaCppPython:
    """One loaded model and its one context. `context` is in tokens."""

    slots = 1
    tools = False  # each model family writes its calls in another way, and nothing here reads them
    template: Template

    def __init__(self, model: Any, pointer: Any, context: int) -> None:
        self._model, self._pointer, self._context = model, pointer, context
        self._vocab = lib.llama_model_get_vocab(model)
        self._memory = lib.llama_get_memory(pointer)
        self._seen: list[int] = []  # what the context holds

    def generate(self, body: dict[str, Any], put: Put) -> None:
        """See Engine."""
        prompt = self._prompt(body)
        if not prompt:
            raise InvalidRequest(400, "messages" if "messages" in body else "prompt")
        if len(prompt) >= self._context:
            raise ContextLengthExceeded(len(prompt), self._context)
        # A seed asks for the same answer again, but a prompt half taken from an earlier one is rounded otherwise.
        cached = self._keep(prompt, most=0 if "seed" in body else len(prompt) - 1)
        for start in range(cached, len(prompt), PROMPT_BATCH):
            if put(ALIVE):
                return
            self._read(prompt[start : start + PROMPT_BATCH])
        said = AnswerText(body.get("stop", ()))
        most = body.get("top_logprobs" if "messages" in body else "logprobs")
        room = min(body["max_tokens"], self._context - len(prompt))
        reason = "length"
        with sampler(self._vocab, body) as chain:
            for count in range(1, room + 1):
                token = lib.llama_sampler_sample(chain, self._pointer, -1)
                if lib.llama_vocab_is_eog(self._vocab, token):
                    reason = "stop"
                    break
                text = said.feed(self._piece(token))
                likely = None if most is None else {"content": [self._likelihood(token, most)]}
                if put(dumps({"choices": [{"text": text, "logprobs": likely}]}) if text or likely else ALIVE):
                    return
                if said.stopped:
                    reason = "stop"
                    break
                if count < room:
                    self._read([token])
        usage = {
            "prompt_tokens": len(prompt),
            "completion_tokens": count,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        put(dumps({"choices": [{"text": said.end(), "finish_reason": reason}], "usage": usage}))

    def embed(self, body: dict[str, Any]) -> bytes:
        """See Engine. Its one context has no place for another's text."""
        raise UnsupportedFeature("embeddings")

    def count(self, body: dict[str, Any]) -> int:
        """See Engine."""
        return len(self._prompt(body))

    def close(self) -> None:
        """See Engine."""
        lib.llama_free(self._pointer)
        lib.llama_model_free(self._model)

    def _prompt(self, body: dict[str, Any]) -> list[int]:
        return self._tokens(body["prompt"] if "prompt" in body else self.template.prompt(body["messages"]))

    def _likelihood(self, token: int, most: int) -> dict[str, Any]:
        """Of `token`, which was just chosen."""
        logits = np.ctypeslib.as_array(
            lib.llama_get_logits_ith(self._pointer, -1), (lib.llama_vocab_n_tokens(self._vocab),)
        )
        return likelihood(logits, token, most, lambda each: self._piece(each).decode(errors="replace"))

    def _tokens(self, text: str) -> list[int]:
        data = text.encode()
        most = len(data) + 8  # a token is a byte or more, but for those that the tokenizer adds
        tokens = (lib.llama_token * most)()
        count = lib.llama_tokenize(self._vocab, data, len(data), tokens, most, True, True)
        if count < 0:
            raise ServerFailed
        return list(tokens[:count])

    def _piece(self, token: int) -> bytes:
        """The token's bytes; none for those that only steer."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def _keep(self, prompt: Sequence[int], most: int) -> int:
        """Leave at most `most` tokens in the context, those with which `prompt` begins. Gives their number."""
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self._seen, prompt, strict=False)))
        kept = min(same, most)
        if not lib.llama_memory_seq_rm(self._memory, ONLY, kept, TO_THE_END):  # a recurrent model cannot go back
            kept = 0
            lib.llama_memory_clear(self._memory, True)
        del self._seen[kept:]
        return kept

    def _read(self, tokens: Sequence[int]) -> None:
        """Let the model see `tokens`, after all that it has seen. Raises ServerFailed."""
        array = (lib.llama_token * len(tokens))(*tokens)
        if lib.llama_decode(self._pointer, lib.llama_batch_get_one(array, len(tokens))) != 0:
            lib.llama_memory_clear(self._memory, True)
            self._seen.clear()
            raise ServerFailed
        self._seen += tokens


@contextmanager
def sampler(vocab: Any, body: dict[str, Any]) -> Iterator[Any]:
    """Chooses the next token as the request asks, in the order of llama.cpp's own server."""
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    try:
        for part in parts(vocab, body):
            lib.llama_sampler_chain_add(chain, part)
        yield chain
    finally:
        lib.llama_sampler_free(chain)


def parts(vocab: Any, body: dict[str, Any]) -> Iterator[Any]:
    if "response_format" in body:
        rules = lib.llama_sampler_init_grammar(vocab, grammar_of(body["response_format"]).encode(), b"root")
        if not rules:  # a schema that llama.cpp cannot hold to
            raise InvalidRequest(400, "text.format")
        yield rules
    frequency, presence = body.get("frequency_penalty", 0.0), body.get("presence_penalty", 0.0)
    if frequency or presence:
        yield lib.llama_sampler_init_penalties(lib.llama_vocab_n_tokens(vocab), PENALIZED, 1.0, frequency, presence)
    temperature = body.get("temperature", TEMPERATURE)
    if temperature == 0:
        yield lib.llama_sampler_init_greedy()
        return
    yield lib.llama_sampler_init_top_k(body.get("top_k", TOP_K))
    yield lib.llama_sampler_init_top_p(body.get("top_p", TOP_P), 1)
    yield lib.llama_sampler_init_min_p(body.get("min_p", MIN_P), 1)
    yield lib.llama_sampler_init_temp(temperature)
    yield lib.llama_sampler_init_dist(body.get("seed", secrets.randbits(SEED_BITS)) % 2**SEED_BITS)


def word(vocab: Any, token: int) -> str:
    """A token as its name; empty for a model that has no such token."""
    if token < 0:
        return ""
    name: bytes = lib.llama_vocab_get_text(vocab, token)
    return name.decode()
