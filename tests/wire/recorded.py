"""The transcripts in tests/wire/recordings: what real servers answered, and where those are missing, would answer."""

from pathlib import Path

RECORDINGS = Path(__file__).parent / "recordings"
LLAMA, LOCALAI, VLLM = "llama.cpp-b11549", "localai-written", "vllm-0.32.0"


def recorded(name: str) -> tuple[int, bytes, bytes]:
    """Status, head and body; a body that was chunked is recorded decoded."""
    head, _, body = (RECORDINGS / f"{name}.http").read_bytes().partition(b"\r\n\r\n")
    return int(head.split()[1]), head + b"\r\n\r\n", body
