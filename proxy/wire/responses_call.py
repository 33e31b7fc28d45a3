"""One tool call of a response while the model writes it: its item, and the events that build it. Pure."""

from contextlib import suppress
from typing import Any

from proxy.response_log import LogFull, Mark, Part, ResponseLog
from proxy.wire.free_text import FreeText
from proxy.wire.tool_names import own_name


class OpenCall:
    """Several may be open at once; each keeps its own text. `item` is its item in the response's output.

    `named` is how the model calls the tool.
    """

    def __init__(
        self,
        log: ResponseLog,
        output_index: int,
        item_id: str,
        call_id: str,
        named: str,
        *,
        custom: bool,
        namespace: str | None = None,
    ) -> None:
        self._log = log
        self._member = "input" if custom else "arguments"
        self._event = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
        self._free = FreeText() if custom else None
        self._said: list[str] = []
        self._place: dict[str, Any] = {"item_id": item_id, "output_index": output_index}
        self._part = log.open(Part(f"{self._event}.delta", self._place))
        self.item: dict[str, Any] = {
            "id": item_id,
            "type": "custom_tool_call" if custom else "function_call",
            "call_id": call_id,
            "name": own_name(namespace, named),
            **({} if namespace is None else {"namespace": namespace}),
            self._member: "",
            "status": "in_progress",
        }
        added = {"output_index": output_index, "item": {**self.item}}
        log.mark(Mark("response.output_item.added", added))

    def feed(self, arguments: str) -> None:
        """More of the arguments. Raises LogFull."""
        text = arguments if self._free is None else self._free.feed(arguments)
        if text:
            self._log.add(self._part, text)
            self._said.append(text)

    def close(self, status: str) -> None:
        """The call is complete, or is cut here."""
        if self._free is not None and (rest := self._free.end()):
            with suppress(LogFull):  # the response ends anyway, and says that it is not complete
                self._log.add(self._part, rest)
                self._said.append(rest)
        text = clean("".join(self._said))
        self.item |= {self._member: text, "status": status}
        self._log.mark(Mark(f"{self._event}.done", {**self._place, self._member: text}))
        done = {"output_index": self._place["output_index"], "item": self.item}
        self._log.mark(Mark("response.output_item.done", done))


def clean(text: str) -> str:
    """`text` as JSON can hold it: a lone surrogate has no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
