"""Writes a GGUF model again with F16 weights. The metadata are copied byte for byte, all but the file's type.

Tiny models do not survive the 8-bit activations that quantized weights bring with them; as F16 they answer sensibly.
"""

import struct
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType
from gguf.quants import dequantize

from backends.llama_cpp.gguf_file import Header, Tensor, padded, read_header


def widen(source: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    """Write `target`; `progress` is told the bytes written and their final number. Raises EngineUnavailable."""
    header = read_header(source)
    weights = np.memmap(source, mode="r", offset=header.data_start)
    sizes = [prod(tensor.shape) * _type(tensor).itemsize for tensor in header.tensors]
    with target.open("wb") as out:
        out.write(_head(header, source, sizes))
        out.write(bytes(padded(out.tell(), header.alignment) - out.tell()))
        total = out.tell() + sum(padded(size, header.alignment) for size in sizes)
        for tensor, size in zip(header.tensors, sizes, strict=True):
            out.write(_values(tensor, weights).astype(_type(tensor)).tobytes())
            out.write(bytes(padded(size, header.alignment) - size))
            progress(out.tell(), total)


def _type(tensor: Tensor) -> np.dtype[np.floating]:
    """Vectors (norms, biases) stay F32, as llama.cpp wants them."""
    return np.dtype("<f2" if len(tensor.shape) > 1 else "<f4")


def _values(tensor: Tensor, weights: np.ndarray) -> np.ndarray:
    kind = GGMLQuantizationType(tensor.type)
    elements, block = GGML_QUANT_SIZES[kind]
    rows = prod(tensor.shape[1:])
    data = weights[tensor.offset : tensor.offset + prod(tensor.shape) // elements * block].reshape(rows, -1)
    if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        data = data.view(np.float32 if kind == GGMLQuantizationType.F32 else np.float16)
    return dequantize(data, kind)


def _head(header: Header, source: Path, sizes: list[int]) -> bytes:
    with source.open("rb") as file:
        start = bytearray(file.read(header.pairs[1]))
    place = header.places.get("general.file_type")
    if place is not None:
        struct.pack_into("<I", start, place, LlamaFileType.MOSTLY_F16)
    offset = 0
    for tensor, size in zip(header.tensors, sizes, strict=True):
        name = tensor.name.encode()
        kind = GGMLQuantizationType.F16 if len(tensor.shape) > 1 else GGMLQuantizationType.F32
        start += struct.pack("<Q", len(name)) + name + struct.pack("<I", len(tensor.shape))
        start += struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape) + struct.pack("<IQ", kind, offset)
        offset += padded(size, header.alignment)
    return bytes(start)
