"""`schemas/store.sql` makes the tables that the migrations make."""

import asyncpg
from tests import databases, schemas

# Whatever can be said of tables in one order; partitions come and go with the months.
DESCRIPTION = """
WITH tables AS (
    SELECT oid, relname, relkind FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition
)
SELECT concat_ws(' ', relname, 'is', relkind) AS line FROM tables
UNION ALL
SELECT relname || ' is partitioned by ' || pg_get_partkeydef(oid) FROM tables WHERE relkind = 'p'
UNION ALL
SELECT concat_ws(' ', relname, attnum, attname, format_type(atttypid, atttypmod),
    CASE WHEN attnotnull THEN 'not null' END, pg_get_expr(adbin, adrelid), col_description(tables.oid, attnum))
FROM tables
JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_attrdef ON adrelid = tables.oid AND adnum = attnum
UNION ALL
SELECT concat_ws(' ', relname, conname, pg_get_constraintdef(pg_constraint.oid))
FROM tables JOIN pg_constraint ON conrelid = tables.oid
UNION ALL
SELECT pg_get_indexdef(indexrelid) FROM tables JOIN pg_index ON indrelid = tables.oid
UNION ALL
SELECT concat_ws(' ', relname, tgname, pg_get_triggerdef(pg_trigger.oid))
FROM tables JOIN pg_trigger ON tgrelid = tables.oid AND NOT tgisinternal
UNION ALL
SELECT concat_ws(' ', relname, obj_description(oid, 'pg_class')) FROM tables
UNION ALL
SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
ORDER BY line
"""


async def described(url: str, statements: str = "SELECT 1") -> list[str]:
    """The tables of a database, after `statements`, in lines."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statements)
        return [row["line"] for row in await connection.fetch(DESCRIPTION)]
    finally:
        await connection.close()


async def test_the_published_tables_are_those_of_the_migrations(database_url: str, postgres_url: str) -> None:
    with databases.created(postgres_url) as name:
        published = await described(databases.url_of(postgres_url, name), schemas.text("store.sql"))
    assert published == await described(database_url), "bring schemas/store.sql up to date with worker/migrations"
    assert "quiz_submission_events is p" in published
