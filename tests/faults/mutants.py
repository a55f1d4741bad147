"""Copies of the product with one promise broken each; the verdict must see every one of them."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

SERVICES = Path(__file__).parents[2] / "services"


class Edit(NamedTuple):
    """One replacement in a file of the package; the text must be there exactly once."""

    file: str
    old: str
    new: str


class Mutant(NamedTuple):
    """What is broken, the play of `plays.py` that must show it, what the failure must say (a pattern), and how."""

    name: str
    play: str
    says: str
    edits: Sequence[Edit]


STORE = "worker/store.py"
KEY = "next_id(event.event_type, sent, event.event_data)"
RESOURCE = "identify(origin.resource, events,"
LATE = 'self.done.set_exception(TryLater("log_unavailable", late))'
ENDING = "await self._end_holders(session.get_server_pid())"
FENCE = "fenced.get(part.partition, _NOWHERE).next_offset == part.first_offset"

MUTANTS = (
    Mutant(
        "de-duplication off",
        "repeat",
        "doubled",
        [Edit("contracts/identity.py", "if stamp is None or sent is None or not recognise_redelivery:", "if True:")],
    ),
    Mutant(
        "time of receipt in the key",
        "repeat",
        "doubled",
        [Edit("contracts/identity.py", KEY, KEY.replace("sent,", "sent + str(received_at),"))],
    ),
    Mutant(
        "attempt in the key",
        "repeat",
        "doubled",
        [
            Edit("gateway/encode.py", RESOURCE, "identify((*origin.resource, origin.attempt or 0), events,"),
        ],
    ),
    Mutant(
        "offsets committed before the rows",
        "crash_worker",
        "lost",
        [
            Edit(STORE, FENCE, "True"),
            Edit(
                STORE,
                "            rows, grown = await self._file(",
                "            await _advance(session, parts)\n"
                '            await session.execute("COMMIT")\n'
                '            await session.execute("BEGIN")\n'
                "            rows, grown = await self._file(",
            ),
        ],
    ),
    Mutant(
        "204 before the acknowledgement",
        "repeat",
        "lost",
        [Edit("gateway/publish.py", "await delivery.done\n", "pass\n")],
    ),
    Mutant(
        "no deadline",
        "kill_broker",
        "no 503 in the outage",
        [Edit("gateway/lane.py", LATE, "pass")],
    ),
    Mutant(
        "events of a request in another order",
        "repeat",
        "out of order",
        [Edit("gateway/encode.py", RESOURCE, "identify(origin.resource, events[::-1],")],
    ),
    Mutant(
        "what cannot be read is passed over",
        "repeat",
        "lost",
        [Edit(STORE, "[*_already_quarantined(parts), *inserted.refused]", "[*inserted.refused]")],
    ),
    Mutant(
        "a refused value is waited for",
        "poison",
        "no new row|behind|not so",
        [
            Edit(
                "worker/flush.py",
                'if found == "refused":\n            return True',
                'if found == "refused":\n            await self._wait(found, trouble)\n            return False',
            )
        ],
    ),
    Mutant(
        "seek left out",
        "crash_worker",
        "not so|no new row|behind",
        [Edit("worker/log.py", "self._consumer.seek(key, offset)", "pass")],
    ),
    Mutant(
        "fencing off",
        "zombie",
        "no new row|went back|lost",
        [Edit(STORE, FENCE, "True"), Edit("worker/sql/store.sql", "\nFOR UPDATE", "\n")],
    ),
    Mutant(
        "offsets read without a lock",
        "zombie",
        "no new row|went back",
        [Edit("worker/sql/store.sql", "\nFOR UPDATE", "\n")],
    ),
    Mutant("holders of locks not ended", "zombie", "no new row", [Edit(STORE, ENDING, "pass")]),
    Mutant("bisection drops the good half", "poison", "lost", [Edit(STORE, "return left.plus(right)", "return left")]),
    Mutant(
        "event type not escaped",
        "repeat",
        "quarantined, though|lost|no new row|not so",
        [Edit("worker/event.py", 'text.replace(_QUOTE, b"\\x01\\x01")', "text")],
    ),
    Mutant(
        "a store set back is not noticed",
        "set_back",
        "behind the log",
        [Edit("worker/loop.py", "if self._store.was_interrupted:", "if False:")],
    ),
    Mutant(
        "ids not those of the records",
        "repeat",
        "out of order",
        [Edit(STORE, "entry.offset * PARTITIONS_PER_ID", "(entry.offset ^ 1) * PARTITIONS_PER_ID")],
    ),
)


def broken(mutant: Mutant) -> dict[str, str]:
    """The files that a mutant changes, with their new text.

    Raises:
        AssertionError: the code has changed, so must the mutant.

    """
    texts: dict[str, str] = {}
    for file, old, new in mutant.edits:
        text = texts.get(file) or (SERVICES / "quizstream" / file).read_text("utf-8")
        assert text.count(old) == 1, f"{mutant.name}: the code has changed, so must the mutant: {file}, {old!r}"
        texts[file] = text.replace(old, new)
    return texts


def bred(mutant: Mutant, directory: Path) -> Path:
    """Copy the product and break it; gives what has to be on PYTHONPATH."""
    copy = directory / "services"
    shutil.copytree(SERVICES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for file, text in broken(mutant).items():
        (copy / "quizstream" / file).write_text(text, "utf-8")
    return copy
