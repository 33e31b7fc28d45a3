"""What every test may lean on: tools that may be missing, and properties that behave alike on slow machines."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

NODE = Path(__file__).parent / "integration" / "node"
CI = os.environ.get("CI") == "true"

TOOLS = {  # @pytest.mark.needs(name): whether it is here, and what to do when it is not
    "node": (
        lambda: shutil.which("node") and (NODE / "node_modules" / "openai").is_dir(),
        "Install Node.js 20 or newer with npm, then run scripts/test, which fetches the packages.",
    ),
    "nginx": (lambda: shutil.which("nginx"), "Install nginx, for example: apt-get install nginx-light."),
}

settings.register_profile(
    "house", deadline=None, derandomize=CI
)  # a busy machine is no failure; CI always sees the same
settings.load_profile("house")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose tool is missing, or fail it where nothing may be missing (CI=true)."""
    for mark in item.iter_markers("needs"):
        for tool in mark.args:
            here, advice = TOOLS[tool]
            if not here():
                message = f"{tool} is missing. {advice}"
                pytest.fail(message, pytrace=False) if CI else pytest.skip(message)
