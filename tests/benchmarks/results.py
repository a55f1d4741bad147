"""The results of a run as JSON, and back."""

from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

import msgspec
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.schedule import Outcome


class Results(TypedDict):
    """Everything that a run has found; figures of different runs are never divided by each other."""

    began_at: str
    seconds: float
    machine: dict[str, str | float]
    versions: dict[str, str]
    outcomes: list[dict[str, object]]


class _Outcome(msgspec.Struct):
    part: str
    benchmark: str
    unit: str
    contenders: dict[str, list[Measurement]]


def outcome_as_data(outcome: Outcome) -> dict[str, object]:
    """Give every measurement of a benchmark, with the figures it comes to."""
    contenders = {
        name: [{**asdict(measured), "figures": measured.figures()} for measured in measurements]
        for name, measurements in outcome.series.items()
    }
    return {"part": outcome.part, "benchmark": outcome.name, "unit": outcome.unit, "contenders": contenders}


def outcomes_of(found: Results) -> list[Outcome]:
    """Give the measurements of results."""
    read = msgspec.convert(found["outcomes"], list[_Outcome])
    return [Outcome(one.part, one.benchmark, one.unit, one.contenders) for one in read]


def write(path: Path, found: Results) -> None:
    """Write results, readable for people too."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


def read(path: Path) -> Results:
    """Read the results of an earlier run.

    Raises:
        msgspec.ValidationError: the file holds something else.

    """
    return msgspec.json.decode(path.read_bytes(), type=Results)
