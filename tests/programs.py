"""Outside programs that some tests need: where missing, a counted skip, or a failure where they are required.

QUIZSTREAM_TEST_REQUIRE=chromium,kcat,docker (or `all`) names those whose absence fails the run.
"""

import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

# Debian keeps servers of several versions side by side, and some programs where only root looks.
_NAMES = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "postgres": ("postgres", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True))),
    "pgbouncer": ("pgbouncer", "/usr/sbin/pgbouncer"),
}
_DOCKER_ANSWERS_AFTER_SECONDS = 10

skipped_for: Counter[str] = Counter()


def require_program(name: str) -> str:
    """Give the program's path; skip the test where it is missing, or fail it where it is required."""
    path = next(filter(None, map(shutil.which, _NAMES.get(name, (name,)))), None)
    if path is not None and (name != "docker" or _docker_answers(path)):
        return path
    required = os.environ.get("QUIZSTREAM_TEST_REQUIRE", "").replace(" ", "").split(",")
    if name in required or "all" in required:
        pytest.fail(f"{name} is required here (QUIZSTREAM_TEST_REQUIRE) and missing", pytrace=False)
    skipped_for[name] += 1
    pytest.skip(f"needs {name}")


def _docker_answers(docker: str) -> bool:
    try:
        asked = subprocess.run(
            [docker, "version"], capture_output=True, check=False, timeout=_DOCKER_ANSWERS_AFTER_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0
