"""What canaries leave in the store: removed after a day, whatever retention says."""

from datetime import datetime, timedelta
from typing import Final

from quizstream.contracts.canaries import FIRST_RESERVED_ID, KEPT_SECONDS
from quizstream.runtime.postgres import connection, load_statements

ROWS_AT_A_TIME: Final = 5_000  # a canary every 5 s leaves 720 an hour

_LOCK: Final = 0x7175697C  # the one after that of retention
_SQL: Final = load_statements("quizstream.worker", "sql/retention.sql")


async def remove_canaries(database_url: str, now: datetime) -> int:
    """Remove what is older than `KEPT_SECONDS` by its receipt; give how many rows. Nothing while another worker does.

    Raises:
        OSError, asyncpg.PostgresError: the store is away or refuses; what was removed stays so.

    """
    received_before = now - timedelta(seconds=KEPT_SECONDS)
    removed = 0
    async with connection(database_url, application_name="quizstream-canaries") as session:
        if not await session.fetchval(_SQL["only_one"], _LOCK):
            return removed
        for statement in ("remove_canary_events", "remove_canary_quarantine"):
            last = ROWS_AT_A_TIME
            while last == ROWS_AT_A_TIME:
                status = await session.execute(_SQL[statement], FIRST_RESERVED_ID, received_before, ROWS_AT_A_TIME)
                last = int(status.rpartition(" ")[2])
                removed += last
    return removed
