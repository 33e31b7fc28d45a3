"""A provider that only counts, in a process of its own, so that nothing which dies takes the count with it.

python -m tests.quota_counter     prints its port; a line [request, attempt, tokens] is counted as it arrives, and
                                  answered with the tokens; an empty line is answered with all that was counted
"""

import asyncio
import json
from typing import Any


class Counter:
    """What arrived, by attempt: how many tokens it took, and how often it came."""

    def __init__(self) -> None:
        self.seen: dict[str, list[int]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(self._answer(line) + b"\n")
                await writer.drain()
        except ConnectionError:  # it was killed
            pass
        finally:
            writer.close()

    def _answer(self, line: bytes) -> bytes:
        if not line.strip():
            return json.dumps(self.seen).encode()
        request, attempt, tokens = json.loads(line)
        self.seen.setdefault(f"{request}/{attempt}", []).append(tokens)
        return str(tokens).encode()


async def main() -> None:
    server = await asyncio.start_server(Counter().serve, "127.0.0.1", 0, limit=2**20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def counted(port: int) -> dict[str, Any]:
    """All that it has counted until now."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
    writer.write(b"\n")
    try:
        found: dict[str, Any] = json.loads(await reader.readline())
        return found
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(main())
