"""Kafka's jars: which they are, the proof that they are those, and where they are kept.

The lock file beside this module names every jar with its size and SHA-256. `python -m quizstream.local.jars` resolves
it anew from ROOTS and prints it. Jars are verified against it before every use; what is missing or broken is fetched,
so an interrupted download goes on where it stopped.
"""

import asyncio
import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from quizstream.local import locks
from quizstream.local.errors import JarChecksumError, JarUnavailableError
from quizstream.local.packages import CACHE_DIRECTORY

KAFKA_VERSION = "4.3.1"
ROOTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",  # without it Kafka logs nothing
)
_LOCK_FILE = "kafka_jars.lock"
_FETCHED_AT_ONCE = 4
_ATTEMPTS = 3
_PAUSE_BETWEEN_ATTEMPTS_SECONDS = 0.5

Say = Callable[[str], None]
"""Shows one line to the person who waits."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock file."""

    coordinate: str
    size_bytes: int
    sha256: str

    @property
    def relative_path(self) -> Path:
        """Where a Maven repository keeps it."""
        group, artifact, version = self.coordinate.split(":")
        return Path(*group.split("."), artifact, version, f"{artifact}-{version}.jar")


class JarSource(Protocol):
    """Where jars come from."""

    def fetch(self, jar: Jar, repository: Path) -> None:
        """Put the jar at its relative path in `repository`; raises JarUnavailableError when it cannot be had."""


class MavenCentral:
    """The public repository, through jgo, which needs neither Maven nor Java."""

    def fetch(self, jar: Jar, repository: Path) -> None:
        """Download one jar; a broken transfer may leave a part of it, which the checksum shows."""
        from jgo.maven import MavenContext  # noqa: PLC0415 - slow to import, and needed only once per machine

        group, artifact, version = jar.coordinate.split(":")
        context = MavenContext(repo_cache=repository)
        try:
            context.project(group, artifact).at_version(version).artifact().resolve()
        except (OSError, RuntimeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk; those of the network carry no number
            raise JarUnavailableError(jar.coordinate) from error


def locked_jars() -> list[Jar]:
    """Return what the lock file names, in the order of the class path."""
    lines = files(__package__).joinpath(_LOCK_FILE).read_text("utf-8").splitlines()
    rows = (line.split() for line in lines if line and not line.startswith("#"))
    return [Jar(coordinate, int(size_bytes), sha256) for coordinate, size_bytes, sha256 in rows]


async def class_path(
    cache: Path | None = None,
    *,
    jars: Iterable[Jar] | None = None,
    source: JarSource | None = None,
    say: Say | None = None,
) -> list[Path]:
    """Return verified paths of all jars, fetched first where needed.

    Raises JarUnavailableError when some are missing and cannot be fetched, JarChecksumError when a fetched one is not
    the locked one.
    """
    repository = (cache or CACHE_DIRECTORY) / "maven"
    wanted = locked_jars() if jars is None else list(jars)
    if await asyncio.to_thread(_broken, wanted, repository):
        repository.mkdir(parents=True, exist_ok=True)
        async with locks.waiting(repository / "lock"):
            missing = await asyncio.to_thread(_broken, wanted, repository)  # another process may have fetched them
            await _fetch_all(missing, repository, source or MavenCentral(), say or say_to_stderr)
    return [repository / jar.relative_path for jar in wanted]


def say_to_stderr(line: str) -> None:
    """Show the line on standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _broken(jars: Iterable[Jar], repository: Path) -> list[Jar]:
    return [jar for jar in jars if not _is_verified(jar, repository)]


def _is_verified(jar: Jar, repository: Path) -> bool:
    path = repository / jar.relative_path
    if not path.is_file() or path.stat().st_size != jar.size_bytes:
        return False
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == jar.sha256


async def _fetch_all(missing: list[Jar], repository: Path, source: JarSource, say: Say) -> None:
    if not missing:
        return
    progress = _Progress(missing, say)
    say(f"Fetching {len(missing)} jars of Kafka {KAFKA_VERSION} ({progress.total_megabytes} MB) into {repository}")
    places = asyncio.Semaphore(_FETCHED_AT_ONCE)

    async def fetch(jar: Jar) -> None:
        async with places:
            await _fetch(jar, repository, source)
        progress.add(jar)

    try:
        async with asyncio.TaskGroup() as tasks:
            for jar in missing:
                tasks.create_task(fetch(jar))
    except ExceptionGroup as errors:
        error = _first(errors)
        if not isinstance(error, JarUnavailableError):
            raise error from None
        message = f"Kafka's jars are not in {repository} and Maven Central cannot be reached (first missing: {error})"
        raise JarUnavailableError(message) from error


class _Progress:
    """Tells how far the download is, about ten times in all."""

    def __init__(self, jars: list[Jar], say: Say) -> None:
        self._total_bytes = sum(jar.size_bytes for jar in jars)
        self._done_bytes = 0
        self._told_tenths = 0
        self._say = say

    @property
    def total_megabytes(self) -> int:
        return round(self._total_bytes / 1e6)

    def add(self, jar: Jar) -> None:
        self._done_bytes += jar.size_bytes
        tenths = self._done_bytes * 10 // self._total_bytes
        if tenths > self._told_tenths:
            self._told_tenths = tenths
            self._say(f"  {self._done_bytes / 1e6:3.0f} of {self.total_megabytes} MB")


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


async def _fetch(jar: Jar, repository: Path, source: JarSource) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        (repository / jar.relative_path).unlink(missing_ok=True)  # jgo keeps whatever file is there
        try:
            await asyncio.to_thread(source.fetch, jar, repository)
        except JarUnavailableError:
            if attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(_PAUSE_BETWEEN_ATTEMPTS_SECONDS)
        else:
            break
    if not await asyncio.to_thread(_is_verified, jar, repository):
        (repository / jar.relative_path).unlink(missing_ok=True)
        raise JarChecksumError(f"{jar.coordinate} as fetched is not the jar in {_LOCK_FILE} (SHA-256 differs)")


def lock_lines() -> list[str]:
    """Resolve ROOTS on Maven Central and return the lines of a new lock file."""
    from jgo.maven import MavenContext  # noqa: PLC0415 - as above

    chosen: dict[str, Jar] = {}
    with tempfile.TemporaryDirectory() as directory:
        context = MavenContext(repo_cache=Path(directory))
        # One root after the other: resolved together, each root's managed versions would rule the other's jars.
        for root in ROOTS:
            inputs, transitive = context.resolver.resolve([context.create_dependency(root)])
            needed = [dependency for dependency in transitive if dependency.scope in {"compile", "runtime"}]
            for artifact in (dependency.artifact for dependency in [*inputs, *needed]):
                project = f"{artifact.groupId}:{artifact.artifactId}"
                if project not in chosen:
                    content = artifact.resolve().read_bytes()
                    digest = hashlib.sha256(content).hexdigest()
                    chosen[project] = Jar(f"{project}:{artifact.version}", len(content), digest)
    header = "# group:artifact:version, bytes, SHA-256; made by `python -m quizstream.local.jars`"
    return [header, *sorted(f"{jar.coordinate} {jar.size_bytes} {jar.sha256}" for jar in chosen.values())]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lock_lines()) + "\n")
