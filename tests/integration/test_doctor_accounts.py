"""What `streamlane doctor` says of accounts: what stands in their way, and whether they can be asked."""

from pathlib import Path

from proxy.doctor.examine import examine
from tests.upstream import Upstream, plain

TEXT = """
server.port = 0
ops.port = 0
[[accounts]]
name = "me"
provider = "groq"
api_key = "gsk_0123456789abcdefghij"
base_url = "{url}"
models = ["llama"]
[[accounts]]
name = "cf"
provider = "cloudflare"
api_key = "cf_0123456789abcdefghij"
account_id = "a1"
models = ["@cf/openai/gpt-oss-20b"]
[[accounts]]
name = "gem"
provider = "gemini"
api_key = "AIza0123456789abcdefghij"
accept = ["trains"]
[models.any]
targets = ["gem/gemini-3.6-flash", "me/llama"]
"""


async def test_accounts_say_what_stands_in_their_way_and_are_asked_like_backends(tmp_path: Path) -> None:
    async with Upstream(default=lambda _: plain(200, {"object": "list", "data": [{"id": "llama"}]})) as server:
        (tmp_path / "streamlane.toml").write_text(TEXT.format(url=server.url))
        findings = await examine(None, {"HOME": str(tmp_path)}, tmp_path, ())
    by_about = {finding.about: finding for finding in findings}
    assert by_about["Backend me"].state == "ok"
    named = "Not asked, since it lists no models. Named are 1 model: @cf/openai/gpt-oss-20b."
    assert by_about["Backend cf"].text == named
    assert not {"Backend gem", "Backends", "Alias any"} & by_about.keys()
    notes = [finding.text for finding in findings if finding.about == "Accounts"]
    assert '"gem": is not used: terms of Google Gemini API (AI Studio) are not accepted: no_eea.' in notes[0]


async def test_a_ledger_that_cannot_be_read_is_to_be_fixed(tmp_path: Path) -> None:
    (tmp_path / "streamlane.toml").write_text('data_dir = "."\nserver.port = 0\nops.port = 0\n')
    assert "Ledger" not in {each.about for each in await examine(None, {"HOME": str(tmp_path)}, tmp_path, ())}
    (tmp_path / "quota.db").write_bytes(b"rubbish" * 1000)
    [ledger] = [each for each in await examine(None, {"HOME": str(tmp_path)}, tmp_path, ()) if each.about == "Ledger"]
    assert ledger.state == "fix"
    assert "it is no SQLite file" in ledger.text
