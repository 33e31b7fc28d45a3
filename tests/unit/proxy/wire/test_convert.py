"""What a client is told of a value that does not fit: the field, and what there is."""

import pytest

from proxy.errors import BadParameter
from proxy.wire.convert import convert
from proxy.wire.extras import Extras


@pytest.mark.parametrize(
    ("wish", "field", "known"),
    [
        ({"work": "bach"}, "sl_route.work", "agent, batch, interactive"),
        ({"when_spent": ["never"]}, "sl_route.when_spent[0]", "local, paid, wait"),
        ({"dedline_ms": 5}, "sl_route", "deadline_ms"),
    ],
)
def test_a_word_that_is_not_known_is_answered_with_those_that_are(wish: object, field: str, known: str) -> None:
    with pytest.raises(BadParameter) as caught:
        convert({"sl_route": wish}, Extras, "")
    assert caught.value.param == field
    assert known in str(caught.value)
