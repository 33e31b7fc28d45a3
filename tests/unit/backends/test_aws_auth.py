"""Credentials of AWS: looked for off the event loop, and a refusal is told without what a server said."""

import threading
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError
from botocore.session import Session

from backends.aws_auth import Identity, Signer
from backends.errors import AuthenticationFailed

URL = "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse"


class Borrowed:
    """Credentials that are about to expire, and that nobody renews; `error` is raised to who asks for them."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.asked_in = error, set[threading.Thread]()

    def refresh_needed(self) -> bool:
        return True

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        self.asked_in.add(threading.current_thread())
        if self.error is not None:
            raise self.error
        return ReadOnlyCredentials("AKIA", "secret", "token", None)


def signer(monkeypatch: pytest.MonkeyPatch, borrowed: Borrowed) -> Signer:
    monkeypatch.setattr(Session, "get_credentials", lambda _: borrowed)
    return Signer(Identity(), "bedrock", "us-east-1")


async def test_a_server_that_renews_nothing_does_not_hold_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    borrowed = Borrowed()
    for _ in range(2):
        headers = await signer(monkeypatch, borrowed).headers("POST", URL, {}, b"{}")
        assert headers["x-amz-security-token"] == "token"
    assert threading.current_thread() not in borrowed.asked_in


REFUSAL: Any = {"Error": {"Code": "AccessDenied", "Message": "User: arn:aws:iam::1:user/secret-name may not"}}


@pytest.mark.parametrize("error", [ClientError(REFUSAL, "AssumeRole"), RuntimeError("secret-name has expired")])
async def test_a_role_that_is_refused_is_told_without_its_name(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with pytest.raises(AuthenticationFailed, match="The operator must check") as caught:
        await signer(monkeypatch, Borrowed(error)).headers("POST", URL, {}, b"{}")
    assert type(error).__name__ in caught.value.reason
    assert "secret-name" not in caught.value.reason
