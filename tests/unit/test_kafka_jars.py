import asyncio
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from quizstream.local.errors import JarChecksumError, JarUnavailableError
from quizstream.local.jars import ROOTS, Jar, class_path, locked_jars

CONTENTS = {"org.example:first:1.0": b"the first jar", "org.example:second:2.1": b"the second jar"}
JARS = [Jar(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in CONTENTS.items()]


@dataclass
class ShelfOfJars:
    """A source that gives what it holds, and remembers what it was asked for."""

    contents: dict[str, bytes] = field(default_factory=lambda: dict(CONTENTS))
    failures: int = 0
    asked: list[str] = field(default_factory=list)

    def fetch(self, jar: Jar, repository: Path) -> None:
        self.asked.append(jar.coordinate)
        path = repository / jar.relative_path
        assert not path.exists(), "as jgo: it does not replace a file that is there"
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.failures:
            self.failures -= 1
            path.write_bytes(b"cut sh")
            raise JarUnavailableError(jar.coordinate)
        if jar.coordinate not in self.contents:
            raise JarUnavailableError(jar.coordinate)
        path.write_bytes(self.contents[jar.coordinate])


async def resolve(cache: Path, shelf: ShelfOfJars, told: list[str] | None = None) -> list[Path]:
    return await class_path(cache, jars=JARS, source=shelf, say=(told if told is not None else []).append)


async def test_all_jars_are_fetched_in_the_order_of_the_lock_file(tmp_path: Path) -> None:
    paths = await resolve(tmp_path, ShelfOfJars())

    assert [path.read_bytes() for path in paths] == list(CONTENTS.values())


async def test_a_second_use_fetches_nothing_and_says_nothing(tmp_path: Path) -> None:
    await resolve(tmp_path, ShelfOfJars())
    shelf, told = ShelfOfJars(), list[str]()

    await resolve(tmp_path, shelf, told)

    assert (shelf.asked, told) == ([], [])


async def test_an_interrupted_download_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    first_only = ShelfOfJars({JARS[0].coordinate: CONTENTS[JARS[0].coordinate]})
    with pytest.raises(JarUnavailableError):
        await resolve(tmp_path, first_only)
    shelf = ShelfOfJars()

    await resolve(tmp_path, shelf)

    assert shelf.asked == [JARS[1].coordinate]


@pytest.mark.parametrize("content", [b"", b"the first", b"the FIRST jar", b"the first jar and more"])
async def test_a_broken_file_is_fetched_anew(tmp_path: Path, content: bytes) -> None:
    paths = await resolve(tmp_path, ShelfOfJars())
    paths[0].write_bytes(content)
    shelf = ShelfOfJars()

    await resolve(tmp_path, shelf)

    assert shelf.asked == [JARS[0].coordinate]
    assert paths[0].read_bytes() == CONTENTS[JARS[0].coordinate]


async def test_a_jar_with_another_checksum_is_refused_and_the_right_one_taken_later(tmp_path: Path) -> None:
    forged = ShelfOfJars(CONTENTS | {JARS[1].coordinate: b"the forged jar"})

    with pytest.raises(JarChecksumError, match=r"^org\.example:second:2\.1 as fetched is not the jar in "):
        await resolve(tmp_path, forged)

    assert (await resolve(tmp_path, ShelfOfJars()))[1].read_bytes() == CONTENTS[JARS[1].coordinate]


async def test_a_broken_transfer_is_tried_again(tmp_path: Path) -> None:
    paths = await resolve(tmp_path, ShelfOfJars(failures=2))

    assert [path.read_bytes() for path in paths] == list(CONTENTS.values())


async def test_offline_the_message_is_one_line_that_names_the_cache_and_the_source(tmp_path: Path) -> None:
    with pytest.raises(JarUnavailableError) as caught:
        await resolve(tmp_path, ShelfOfJars({}))

    message = str(caught.value)
    assert message.startswith(f"Kafka's jars are not in {tmp_path / 'maven'} and Maven Central cannot be reached")
    assert "\n" not in message


async def test_two_starts_at_once_fetch_each_jar_once(tmp_path: Path) -> None:
    shelf = ShelfOfJars()

    await asyncio.gather(resolve(tmp_path, shelf), resolve(tmp_path, shelf))

    assert sorted(shelf.asked) == sorted(CONTENTS)


async def test_progress_is_told(tmp_path: Path) -> None:
    told = list[str]()

    await resolve(tmp_path, ShelfOfJars(), told)

    assert told[0].startswith("Fetching 2 jars of Kafka")
    assert len(told) == 3


def test_the_lock_file_pins_every_root() -> None:
    assert set(ROOTS) <= {jar.coordinate for jar in locked_jars()}
    assert all(len(jar.sha256) == 64 and jar.size_bytes > 0 for jar in locked_jars())
