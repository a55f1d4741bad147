"""The README says what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from quizstream.canary.settings import CanarySettings
from quizstream.gateway.settings import GatewaySettings
from quizstream.local.screen import Addresses, render_screen
from quizstream.local.settings import DevSettings
from quizstream.reader.settings import ReaderSettings
from quizstream.runtime.settings import SettingRow, SettingsGroup, list_settings
from quizstream.worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PARTS: dict[str, type[SettingsGroup]] = {
    "gateway": GatewaySettings,
    "worker": WorkerSettings,
    "reader": ReaderSettings,
    "canary": CanarySettings,
    "dev": DevSettings,
}
COMMANDS = (
    "dev",
    "gateway",
    "worker",
    "reader",
    "canary",
    "migrate",
    "check",
    "token",
    "quarantine",
    "retention",
)


def settings_table() -> str:
    """The table as it must stand in the README."""
    in_part = {part: {row.name for row in list_settings([settings])} for part, settings in PARTS.items()}

    def line(row: SettingRow) -> str:
        parts = [part for part in PARTS if part != "dev" and row.name in in_part[part]] or ["dev"]
        readers = "all" if len(parts) == len(PARTS) - 1 else ", ".join(parts)
        default = f"`{row.default}`" if row.default else ""
        return f"| `{row.name}` | {readers} | {default} | {row.description} |"

    head = ["| variable | read by | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *map(line, list_settings(PARTS.values()))])


def test_the_table_of_settings_is_what_the_code_reads() -> None:
    found = re.search(r"<!-- settings -->\n(.*)\n<!-- /settings -->", README, re.DOTALL)
    assert found
    assert found[1] == settings_table()


def test_the_lines_to_paste_are_those_that_dev_prints() -> None:
    screen = render_screen(
        Addresses("http://127.0.0.1:8080", "http://127.0.0.1:9090", "127.0.0.1:9092", "topic", Path("log"), "token")
    )
    lines = [block.strip() for block in screen.split("\n\n") if block.strip().startswith("curl")]
    assert len(lines) == 2
    for line in lines:
        assert line in README


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme_and_in_the_help(command: str) -> None:
    assert f"quizstream {command}" in README
    shown = subprocess.run(
        [sys.executable, "-m", "quizstream", "--help"], capture_output=True, check=True, text=True
    ).stdout
    assert re.search(rf"^    {command}\s", shown, re.MULTILINE)


def test_every_file_that_the_readme_links_is_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
