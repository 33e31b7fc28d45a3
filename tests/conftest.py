"""What every test may lean on: tools that may be missing, and properties that behave alike on slow machines."""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

from tests.integration import container

NODE = Path(__file__).parent / "integration" / "node"
CI = os.environ.get("CI") == "true"
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # programs of the venv come first

TOOLS = {  # @pytest.mark.needs(name): whether it is here, and what to do when it is not
    "node": (
        lambda: shutil.which("node") and (NODE / "node_modules" / "openai").is_dir(),
        "Install Node.js 20 or newer with npm, then run scripts/test, which fetches the packages.",
    ),
    "chromium": (
        lambda: shutil.which("chromium") and (NODE / "node_modules" / "axe-core").is_dir(),
        "Install Chromium, for example: apt-get install chromium. Then run scripts/test, which fetches axe-core.",
    ),
    "promtool": (
        lambda: shutil.which("promtool", path=PATH),
        "It is a program of Prometheus. As root on Debian, scripts/test takes it out of the package.",
    ),
    "llama-cpp-python": (
        lambda: find_spec("llama_cpp") and find_spec("starlette_context"),  # of its server
        "Run scripts/test, which builds it once, or scripts/engine-wheel PYTHON.",
    ),
    "tmux": (lambda: shutil.which("tmux"), "Install tmux, for example: apt-get install tmux."),
    "overlay": (container.possible, "Run the tests as root, where mounts are allowed and util-linux is installed."),
    "cc": (lambda: shutil.which("cc"), "Install a C compiler, for example: apt-get install gcc."),
    "nginx": (lambda: shutil.which("nginx"), "Install nginx, for example: apt-get install nginx-light."),
}

# Those of tests/integration that measure no times, and so may share the cores with others.
SHARING = {
    "after_the_end", "bad_input", "bodies", "breakers", "caller_keys", "canaries", "capabilities", "chat",
    "chat_gateway", "chat_http", "chat_page", "chat_page_parts", "chat_page_phone", "chat_page_quota",
    "chat_page_ratings", "chat_page_storage", "chat_resume", "cli", "conformance", "continuation", "conversions",
    "cost", "credentials", "demo_free_tiers", "dockerfile", "doctor", "doctor_accounts", "event_reference",
    "fault_leftovers", "faults", "feedback", "free", "free_edges", "free_told", "gateway_behind_gateway", "js_client",
    "js_client_browser", "keys", "ledger_disk", "ledger_disk_gateway", "ledger_kill", "ledger_power",
    "ledger_processes", "ledger_simulation", "messages_http", "node_apis", "node_sdk", "node_sdk_http",
    "node_sdk_versions", "pages", "protocol_checklist", "python_client", "queue_http", "quota_cli", "quota_http",
    "real_servers", "real_tools", "reference", "responses_http", "routing", "schemathesis", "sdk", "sdk_versions",
    "sdks_with_the_model", "secrets", "simulate", "socket", "tools", "transport", "what_is_held", "what_people_see",
    "wheel",
}  # fmt: skip

settings.register_profile(
    "house", deadline=None, derandomize=CI
)  # a busy machine is no failure; CI always sees the same
settings.load_profile("house")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what must have the machine for itself: it starts whole gateways and looks at the clock."""
    for item in items:
        if item.path.parent.name == "integration" and item.path.stem.removeprefix("test_") not in SHARING:
            item.add_marker("alone")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose tool is missing, or fail it where nothing may be missing (CI=true)."""
    for mark in item.iter_markers("needs"):
        for tool in mark.args:
            here, advice = TOOLS[tool]
            if not here():
                message = f"{tool} is missing. {advice}"
                pytest.fail(message, pytrace=False) if CI else pytest.skip(message)
