"""Small GGUF files for tests, written by the reference library. None holds a model that could answer."""

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np

CONTEXT = 2048
VOCABULARY = ["<s>", "Grüß", "dich", ""]


def tiny_model(path: Path, architecture: str = "llama", advice: Mapping[str, float] | None = None) -> Path:
    """A header with every shape of value that models have, two matrices (Q8_0 and F32) and a vector.

    `advice` is how to draw its tokens.
    """
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(CONTEXT)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_chat_template("{% for message in messages %}{{ message.content }}{% endfor %}")
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([1, 1, 1, 1])
    writer.add_add_bos_token(False)
    for name, value in (advice or {}).items():
        (writer.add_int32 if isinstance(value, int) else writer.add_float32)(f"general.sampling.{name}", value)
    values = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    quantized = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("matrix", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("vector", values[0])
    writer.add_tensor("plain", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
