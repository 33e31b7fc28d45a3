"""The sources of an answer, in the words of each API. Pure.

Responses: https://platform.openai.com/docs/api-reference/responses-streaming (response.output_text.annotation.added)
Chat: `annotations` of a message. Messages: https://docs.anthropic.com/en/docs/build-with-claude/citations
"""

from typing import Any

from backends.events import Citation
from proxy.wire.responses_call import clean

Json = dict[str, Any]
WEB = ("http://", "https://")


def annotation(cited: Citation, before: int) -> Json:
    """An annotation of a text part; `before` are the answer's characters before that part.

    OpenAI has a type for a URL and one for a file. The second has no end and no quoted text: those are ours.
    """
    start, end = max(0, cited.start - before), max(0, cited.end - before)
    title = clean(cited.title)
    if cited.source.startswith(WEB):
        shown: Json = {"type": "url_citation", "url": clean(cited.source), "title": title}
        shown |= {"start_index": start, "end_index": end}
    else:
        source = clean(cited.source)
        shown = {"type": "file_citation", "file_id": source, "filename": title or source, "index": start}
        shown |= {"sl_end_index": end}
    return {**shown, "sl_text": clean(cited.text)} if cited.text else shown


def chat_annotation(shown: Json, before: int) -> Json:
    """The same in a chat message, where positions count from the beginning of the whole content.

    OpenAI's type knows URLs only, so the id of a document, or of a tool's result, stands there too.
    """
    if shown["type"] == "url_citation":
        source, title, start, end = (shown[name] for name in ("url", "title", "start_index", "end_index"))
    else:
        source, title, start, end = (shown[name] for name in ("file_id", "filename", "index", "sl_end_index"))
    cited = {"url": source, "title": title, "start_index": start + before, "end_index": end + before}
    return {"type": "url_citation", "url_citation": cited}


def block_citation(shown: Json) -> Json:
    """The same on a text block of Anthropic's, whose citations hold for the whole block."""
    text = shown.get("sl_text", "")
    if shown["type"] == "url_citation":
        web = {"url": shown["url"], "title": shown["title"] or None, "encrypted_index": ""}
        return {"type": "web_search_result_location", "cited_text": text, **web}
    found = {"source": shown["file_id"], "title": shown["filename"], "search_result_index": 0}
    return {"type": "search_result_location", "cited_text": text, **found, "start_block_index": 0, "end_block_index": 0}
