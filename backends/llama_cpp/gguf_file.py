"""Reads a GGUF file's header, and refuses a file that llama.cpp would choke on. Needs no engine.

Layout (GGUF v2 and v3, little endian): magic, version, tensor count, pair count; pairs (name, type, value); tensors
(name, dimensions, type, offset); padding to the alignment; tensor data.
"""

import mmap
import struct
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path

from backends.errors import EngineUnavailable
from backends.request import Sampling

MAGIC = b"GGUF"
VERSIONS = (2, 3)
POOLED_LAST = {0, 3}  # llama.h: LLAMA_POOLING_TYPE_NONE, LLAMA_POOLING_TYPE_LAST
DEFAULT_ALIGNMENT = 32
MAX_DIMENSIONS = 4
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor. `shape` is in GGUF's order (fastest first), `offset` in bytes from the start of the data."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the data. `pairs` is where they begin and end in the file, `places` where their values lie."""

    values: dict[str, object]
    places: dict[str, int]
    pairs: tuple[int, int]
    tensors: tuple[Tensor, ...]
    alignment: int
    data_start: int

    @property
    def architecture(self) -> str:
        """The model's family, as llama.cpp names it."""
        return str(self.values.get("general.architecture", "unknown"))

    @property
    def context(self) -> int | None:
        """Tokens that the model was trained to see at once, where the file says."""
        value = self.values.get(f"{self.architecture}.context_length")
        return value if isinstance(value, int) else None

    @property
    def sampling(self) -> Sampling:
        """How its makers want its tokens drawn, as far as the file says."""
        top_k = self._number("general.sampling.top_k")
        return Sampling(
            temperature=self._number("general.sampling.temp"),
            top_p=self._number("general.sampling.top_p"),
            top_k=None if top_k is None else int(top_k),
            min_p=self._number("general.sampling.min_p"),
        )

    @property
    def pools_last(self) -> bool:
        """Whether the model's vector of a text is its last token's, or nothing says that it is another's."""
        name = f"{self.architecture}.pooling_type"
        return self.values.get(name) in {None, *POOLED_LAST}

    def _number(self, name: str) -> float | None:
        value = self.values.get(name)
        return value if isinstance(value, int | float) and isfinite(value) else None


def read_header(path: Path) -> Header:
    """The header of the model file at `path`. Raises EngineUnavailable with the next step when it is no GGUF."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            if start[:4] != MAGIC or len(start) < 8:
                raise EngineUnavailable(f"'{path}' is not a GGUF model file. Point `model` to a .gguf file.")
            version = int.from_bytes(start[4:], "little")
            if version not in VERSIONS:
                raise EngineUnavailable(
                    f"The model file '{path}' is GGUF version {version}; 2 and 3 are understood. "
                    "Convert it again with a current llama.cpp."
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(data)
    except OSError as error:
        raise EngineUnavailable(
            f"The model file '{path}' cannot be read ({error.strerror}). Check its path and your rights."
        ) from None
    except (struct.error, IndexError, OverflowError):
        raise EngineUnavailable(f"The model file '{path}' ends inside its header. Fetch it again.") from None
    except (KeyError, ValueError):
        raise EngineUnavailable(f"The header of the model file '{path}' makes no sense. Fetch it again.") from None


def check(path: Path, header: Header) -> None:
    """Raises EngineUnavailable when `path` does not hold all the data that its header promises."""
    try:
        from gguf.constants import GGML_QUANT_SIZES  # noqa: PLC0415  # of the extras, and it brings numpy
    except ImportError:
        raise EngineUnavailable(
            "The package 'gguf' is not installed. Install it with: pip install 'streamlane[llama-batched]'"
        ) from None
    sizes = {int(kind): block for kind, block in GGML_QUANT_SIZES.items()}  # a block's elements and bytes
    length, needed = path.stat().st_size, 0
    for tensor in header.tensors:
        per_block, size = sizes.get(tensor.type, (0, 0))
        bytes_ = prod(tensor.shape) // per_block * size if per_block else 1  # unknown to us, perhaps not to llama.cpp
        needed = max(needed, header.data_start + tensor.offset + bytes_)
    if needed > length:
        raise EngineUnavailable(
            f"The model file '{path}' is cut short: it has {length:,} bytes and needs {needed:,}. Fetch it again."
        )


class _Cursor:
    """Takes values off `data`, front to back. Running off the end raises struct.error."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> int | float | bool:
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value  # type: ignore[no-any-return]  # struct cannot say what its format makes

    def count(self, form: str = "<Q") -> int:
        return int(self.take(form))

    def skip(self, length: int) -> None:
        self.at += length

    def text(self) -> str:
        length = self.count()
        start, self.at = self.at, self.at + length
        if self.at > len(self.data):
            raise IndexError
        return self.data[start : self.at].decode(errors="replace")

    def value(self, kind: int) -> object:
        """A scalar or a string; an array is stepped over and gives None, since nobody here asks for a vocabulary."""
        if kind == STRING:
            return self.text()
        if kind != ARRAY:
            return self.take(SCALARS[kind])
        inner, length = self.count("<I"), self.count()
        if inner == STRING:
            for _ in range(length):
                self.skip(self.count())
        else:
            self.skip(struct.calcsize(SCALARS[inner]) * length)
        return None


def _parse(data: mmap.mmap) -> Header:
    cursor = _Cursor(data)
    cursor.at = 8
    tensor_count, pair_count = cursor.count(), cursor.count()
    values: dict[str, object] = {}
    places: dict[str, int] = {}
    start = cursor.at
    for _ in range(pair_count):
        name, kind = cursor.text(), cursor.count("<I")
        places[name] = cursor.at
        values[name] = cursor.value(kind)
    end = cursor.at
    tensors = tuple(_tensor(cursor) for _ in range(tensor_count))
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment <= 0:
        raise ValueError("alignment")
    return Header(values, places, (start, end), tensors, alignment, padded(cursor.at, alignment))


def _tensor(cursor: _Cursor) -> Tensor:
    name, dimensions = cursor.text(), cursor.count("<I")
    if dimensions > MAX_DIMENSIONS:
        raise ValueError("dimensions")
    shape = tuple(cursor.count() for _ in range(dimensions))
    return Tensor(name, shape, cursor.count("<I"), cursor.count())


def padded(length: int, alignment: int) -> int:
    """`length` rounded up to a multiple of `alignment`."""
    return -(-length // alignment) * alignment
