"""Tells the language of a prompt, with py3langid's model. Loaded only for rules that ask: it takes a second."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

SURE = 0.25  # of 140 languages; short greetings and source code stay below it
EDGE = 300  # characters read at each end: 0.1 to 0.5 ms, where all of a prompt would take ten times that

_WIDER: Mapping[str, str] = MappingProxyType(
    {"ary": "ar", "arz": "ar", "uzs": "uz", "wuu": "zh", "yue": "zh"}
)  # spoken Arabic and Chinese are written to be read as the language that people would name


def language_detector() -> Callable[[str], str | None]:
    """A function from a text to its ISO 639-1 code (proxy/languages.py); None where it is not sure.

    This reads a file of 5 MB and takes 100 MB of memory. The function may be called from any thread.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415  # numpy and the model: only when asked

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def language(text: str) -> str | None:
        code, confidence = identifier.classify(text if len(text) <= 2 * EDGE else f"{text[:EDGE]}\n{text[-EDGE:]}")
        code = _WIDER.get(code, code)
        return code if confidence >= SURE and len(code) == 2 else None

    return language
