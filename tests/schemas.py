"""The published contracts as tests read them."""

import json
from collections.abc import Mapping
from pathlib import Path

from jsonschema import Draft202012Validator, FormatChecker

FOLDER = Path(__file__).parents[1] / "schemas"
Document = dict[str, object]


def text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def document(name: str) -> Document:
    found: Document = json.loads(text(name))
    return found


def validator(schema: Mapping[str, object]) -> Draft202012Validator:
    """A validator that takes formats seriously."""
    return Draft202012Validator(schema, format_checker=FormatChecker())


def member(value: object, *path: str) -> object:
    """What lies under `path` in nested objects."""
    for name in path:
        assert isinstance(value, dict), f"no object holds {name}"
        value = value[name]
    return value


def members(value: object, *path: str) -> Document:
    """The object under `path`."""
    found = member(value, *path)
    assert isinstance(found, dict)
    return found


def examples(kind: str, of: str) -> list[Path]:
    """The examples of a schema: `kind` is accepted or refused."""
    return sorted((FOLDER / "examples" / kind / of).glob("*.json"))
