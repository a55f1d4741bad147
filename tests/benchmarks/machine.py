"""On what and with what a run was made."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import asyncpg

from quizstream.local.jars import KAFKA_VERSION

_LIBRARIES = ("aiohttp", "aiokafka", "asyncpg", "fastapi", "msgspec", "orjson", "pydantic", "uvicorn", "uvloop")


def describe_machine(cores: int) -> dict[str, str | float]:
    """Give the processor, how many of its cores were used, memory, kernel, and how busy the machine was."""
    return {
        "processor": _processor(),
        "cores": cores,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }


async def describe_versions(postgres_url: str, *, embedded_kafka: bool) -> dict[str, str]:
    """Give the versions of everything that a figure depends on; that of a Kafka that is not ours cannot be asked."""
    session = await asyncpg.connect(postgres_url)
    try:
        postgresql: str = await session.fetchval("SHOW server_version")
    finally:
        await session.close()
    return {
        "quizstream": version("quizstream"),
        "python": platform.python_version(),
        "kafka": KAFKA_VERSION if embedded_kafka else "as named by QUIZSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS",
        "postgresql": postgresql,
        **{name: version(name) for name in _LIBRARIES},
    }


def _processor() -> str:
    return next(_processor_names(), platform.processor() or platform.machine())


def _processor_names() -> Iterator[str]:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                yield line.partition(":")[2].strip()
