"""Directories that only their owner may enter."""

from pathlib import Path


def private(path: Path) -> Path:
    """Make `path` where it is missing, close it to other accounts, and return it absolute and without links."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path.resolve()
