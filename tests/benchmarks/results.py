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
    machine: dict[str, object]
    versions: dict[str, str]
    outcomes: list[dict[str, object]]


def outcome_as_data(outcome: Outcome) -> dict[str, object]:
    """Give every measurement of a benchmark, with the figures it comes to."""
    contenders = {
        name: [{**asdict(measured), "figures": measured.figures()} for measured in measurements]
        for name, measurements in outcome.series.items()
    }
    return {"part": outcome.part, "benchmark": outcome.name, "unit": outcome.unit, "contenders": contenders}


class _Kept(msgspec.Struct):
    part: str
    benchmark: str
    unit: str
    contenders: dict[str, list[Measurement]]


class _Document(msgspec.Struct):
    machine: dict[str, str | float]
    versions: dict[str, str]
    outcomes: list[_Kept]


def write(path: Path, results: Results) -> None:
    """Write the results, readable for people too."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def read_outcomes(path: Path) -> list[Outcome]:
    """Read the measurements of a run back.

    Raises:
        msgspec.ValidationError: the file is no result of a run.

    """
    document = msgspec.json.decode(path.read_bytes(), type=_Document)
    return [Outcome(one.part, one.benchmark, one.unit, one.contenders) for one in document.outcomes]
