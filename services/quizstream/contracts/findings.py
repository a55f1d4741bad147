"""What `quizstream check` has to say: one line for each fault, with how to mend it."""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

# Tokens are believed within 60 s, and the stamps of what is received come from our clocks.
CLOCK_TOLERANCE_SECONDS: Final = 5.0


class Finding(NamedTuple):
    """A fault and its remedy, of one part of the deployment; `advice` is none that breaks a promise."""

    part: str
    fault: str
    remedy: str
    advice: bool = False


def are_fit(findings: Sequence[Finding]) -> bool:
    """Tell whether nothing is wrong; advice does not count."""
    return all(finding.advice for finding in findings)


def clock_finding(part: str, theirs_seconds: float, asked_seconds: float, answered_seconds: float) -> list[Finding]:
    """Compare their clock with ours, which was read before and after theirs."""
    off = max(asked_seconds - theirs_seconds, theirs_seconds - answered_seconds, 0.0)
    if off <= CLOCK_TOLERANCE_SECONDS:
        return []
    fault = f"its clock and ours are {off:.0f} s apart"
    return [Finding(part, fault, "keep all machines in time (NTP): tokens and times of receipt go by it")]


def as_lines(checked: Sequence[str], findings: Sequence[Finding]) -> str:
    """Give one line for each finding, or one that says what was checked."""
    lines = [
        f"{'advice' if finding.advice else 'fault'}: {finding.part}: {finding.fault}: {finding.remedy}"
        for finding in findings
    ]
    if are_fit(findings):
        lines.append(f"fit: {', '.join(checked)}")
    return "".join(f"{line}\n" for line in lines)


def as_json(checked: Sequence[str], findings: Sequence[Finding]) -> str:
    """Give the same as one JSON object."""
    told = {"fit": are_fit(findings), "checked": list(checked), "findings": [one._asdict() for one in findings]}
    return json.dumps(told) + "\n"
