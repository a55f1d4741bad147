"""The secret by which tokens of a laptop installation are signed."""

import os
import secrets
from pathlib import Path
from typing import Final

_FILE: Final = "jwt-secret"


def read_secret(data_directory: Path) -> str | None:
    """Give the secret kept in a data directory, None where none is."""
    try:
        return (data_directory / _FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None


def keep_secret(data_directory: Path) -> str:
    """Give the secret kept in a data directory; made where there is none, for its owner's eyes only."""
    kept = read_secret(data_directory)
    if kept is not None:
        return kept
    secret = secrets.token_urlsafe(48)
    descriptor = os.open(data_directory / _FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secret + "\n")
    return secret
