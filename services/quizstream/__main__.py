"""The command line: `quizstream dev`, the services, and what operators need beside them."""

import argparse
import asyncio
import re
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

import asyncpg

from quizstream.contracts.access import CANARY_SCOPE, GET_SCOPE, POST_SCOPE
from quizstream.contracts.errors import UnknownResource
from quizstream.contracts.findings import Finding, are_fit, as_json, as_lines
from quizstream.contracts.resources import parse_attempt, parse_id
from quizstream.runtime.access import issue_token
from quizstream.runtime.kafka import KafkaFailure
from quizstream.runtime.lifecycle import EXIT_REFUSED, StartRefused
from quizstream.runtime.postgres import explain
from quizstream.runtime.settings import AccessSettings, PostgresSettings, load
from quizstream.runtime.telemetry import configure_logging

if TYPE_CHECKING:
    from quizstream.worker.operate import Operator
    from quizstream.worker.quarantine import Selection

Result = TypeVar("Result")

_SCOPES: Final = {"post": POST_SCOPE, "get": GET_SCOPE, "canary": CANARY_SCOPE}
_PARTS: Final = ("gateway", "worker", "reader")
_SECONDS_PER_UNIT: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; give its exit status. What stops a start is told in one line, with status 2."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except StartRefused as refused:
        sys.stderr.write(f"quizstream: {refused}\n")
        return EXIT_REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quizstream",
        description="Takes Canvas quiz submission events, keeps each exactly once, and gives them back.",
        epilog="Settings are environment variables QUIZSTREAM_*; the README lists them.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    _add(
        commands,
        "dev",
        _dev,
        "run everything on this machine, with its own Kafka and PostgreSQL unless settings name some",
    )
    _add(commands, "gateway", _gateway, "answer POST: take events and publish them")
    _add(commands, "worker", _worker, "write published events into the store")
    _add(commands, "reader", _reader, "answer GET: give events from the store")
    _add(commands, "canary", _canary, "post events of its own and look for them, to tell how fresh GET is")
    migrate = _add(commands, "migrate", _migrate, "bring the store to this version and make missing topics")
    migrate.add_argument("--no-topics", action="store_true", help="leave the topics to somebody else")
    migrate.add_argument(
        "--adopt-topic", action="store_true", help="go on with topics that were made anew (workers must be stopped)"
    )
    check = _add(commands, "check", _check, "hold the settings against the running Kafka and PostgreSQL")
    check.add_argument(
        "part", nargs="*", type=_part, metavar="PART", help="gateway, worker, reader: whose settings (default: of all)"
    )
    check.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    token = _add(
        commands, "token", _token, "print a token signed with QUIZSTREAM_JWT_SECRET, else with the secret of `dev`"
    )
    token.add_argument(
        "--scope", action="append", choices=sorted(_SCOPES), required=True, help="what it allows; repeat"
    )
    for name in ("course", "quiz", "submission"):
        token.add_argument(f"--{name}", type=_id, metavar="N", help=f"bind it to this {name}")
    token.add_argument("--attempt", type=_attempt, metavar="N", help="bind it to this attempt")
    token.add_argument("--sub", default="cli", help="who it is for, kept with the events as their actor (default: cli)")
    token.add_argument(
        "--ttl", type=_seconds, default=3600, metavar="TIME", help="such as 90s, 15m, 1h, 7d (default: 1h)"
    )
    _add_quarantine(commands)
    _add_retention(commands)
    return parser


def _add_quarantine(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    summary = "look at what could not be stored, send it again, or drop it"
    quarantine = commands.add_parser("quarantine", help=summary, description=f"{summary.capitalize()}.")
    actions = quarantine.add_subparsers(required=True, metavar="action")
    listing = _add(actions, "list", _list, "list what is in quarantine, the newest first, without what was sent")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    show = _add(actions, "show", _show, "show one of them, with what was sent")
    show.add_argument("id", type=UUID, metavar="ID")
    replay = _add(actions, "replay", _replay, "send them through the topic again; repeating this stores nothing twice")
    replay.add_argument(
        "--set-event-type", metavar="TYPE", help="give it to elements that are unusable for want of a type"
    )
    drop = _add(actions, "drop", _drop, "delete them for good, but nothing of courses that are held")
    drop.add_argument("--yes", action="store_true", help="do it; otherwise only the number is told")
    for command in (listing, replay, drop):
        _add_filters(command, limit=100 if command is listing else None)


def _add_filters(command: argparse.ArgumentParser, *, limit: int | None) -> None:
    command.add_argument("--id", type=UUID, action="append", metavar="ID", help="only this one; repeat")
    command.add_argument("--reason", help="only those with this reason")
    for name in ("course", "submission"):
        command.add_argument(f"--{name}", type=_id, metavar="N", help=f"only those of this {name}")
    for name in ("since", "until"):
        command.add_argument(
            f"--{name}", type=_instant, metavar="TIME", help=f"quarantined {name}: 2026-11-21T10:00Z, or 90m (ago)"
        )
    told = "all" if limit is None else str(limit)
    command.add_argument("--limit", type=_count, default=limit, metavar="N", help=f"the newest N (default: {told})")


def _add_retention(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    summary = "keep retention (QUIZSTREAM_RETENTION_MONTHS) away from courses"
    retention = commands.add_parser("retention", help=summary, description=f"{summary.capitalize()}.")
    actions = retention.add_subparsers(required=True, metavar="action")
    hold = _add(actions, "hold", _hold, "remove nothing more of a course")
    hold.add_argument("course", type=_id, metavar="COURSE")
    hold.add_argument("--reason", required=True, help="why, for those who come after")
    release = _add(actions, "release", _release, "let retention apply to a course again")
    release.add_argument("course", type=_id, metavar="COURSE")
    _add(actions, "list", _list_holds, "list the courses that are held")


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    command.set_defaults(run=run)
    return command


def _dev(_: argparse.Namespace) -> int:
    from quizstream.local.dev import main as run_dev  # noqa: PLC0415  the extra `local` need not be installed

    return run_dev()


def _gateway(_: argparse.Namespace) -> int:
    from quizstream.gateway.__main__ import main as run_gateway  # noqa: PLC0415  each process loads its own parts

    return run_gateway()


def _worker(_: argparse.Namespace) -> int:
    from quizstream.worker.__main__ import main as run_worker  # noqa: PLC0415  as above

    return run_worker()


def _reader(_: argparse.Namespace) -> int:
    from quizstream.reader.__main__ import main as run_reader  # noqa: PLC0415  as above

    return run_reader()


def _canary(_: argparse.Namespace) -> int:
    from quizstream.canary.__main__ import main as run_canary  # noqa: PLC0415  as above

    return run_canary()


def _migrate(arguments: argparse.Namespace) -> int:
    from quizstream.worker.prepare import PrepareSettings, adopt_topic, prepare  # noqa: PLC0415  as above

    settings = load(PrepareSettings)
    done = _wait_for(prepare(settings, topics=not arguments.no_topics))
    _say("migrations", done.migrations)
    _say("topics", done.topics)
    if done.missing_roles:
        sys.stdout.write(
            f"roles: {', '.join(done.missing_roles)} are missing and this account may not make them: "
            "run deploy/roles.sql as one that may, then migrate again\n"
        )
    if arguments.adopt_topic:
        sys.stdout.write(f"adopted: ids go on above {_wait_for(adopt_topic(settings))}\n")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """Status 1 where something is wrong, 2 where a setting is wrong by itself."""
    findings = _wait_for(_findings(arguments.part or _PARTS))
    write = as_json if arguments.json else as_lines
    sys.stdout.write(write(arguments.part or _PARTS, findings))
    return 0 if are_fit(findings) else 1


async def _findings(parts: Sequence[str]) -> list[Finding]:
    from quizstream.gateway.check import check_keys  # noqa: PLC0415  as above
    from quizstream.gateway.settings import GatewaySettings  # noqa: PLC0415  as above
    from quizstream.reader.settings import ReaderSettings  # noqa: PLC0415  as above
    from quizstream.worker.check_store import check_store  # noqa: PLC0415  as above
    from quizstream.worker.check_topics import check_topics  # noqa: PLC0415  as above
    from quizstream.worker.settings import WorkerSettings  # noqa: PLC0415  as above

    checks: list[Coroutine[object, object, list[Finding]]] = []
    if "gateway" in parts:
        gateway = load(GatewaySettings)
        checks += [check_topics(gateway), check_keys(gateway)]
    if "worker" in parts:
        worker = load(WorkerSettings)
        checks += [check_topics(worker), check_store("worker", worker.database_url.get_secret_value())]
        if worker.retention_months:
            owner = worker.retention_database_url or worker.database_url
            checks.append(check_store("retention", owner.get_secret_value()))
    if "reader" in parts:
        reader = load(ReaderSettings)
        checks += [check_keys(reader), check_store("reader", reader.database_url.get_secret_value())]
        if reader.read_database_url is not None:
            checks.append(check_store("replica", reader.read_database_url.get_secret_value()))
    found = [finding for check in checks for finding in await check]
    return list(dict.fromkeys(found))  # parts share what they depend on


def _wait_for(work: Coroutine[object, object, Result]) -> Result:
    configure_logging("error", "console")
    try:
        return asyncio.run(work)
    except (OSError, asyncpg.PostgresError, asyncpg.ClientConfigurationError) as error:
        raise StartRefused(f"PostgreSQL: {explain(error) or str(error).partition(chr(10))[0]}") from error
    except KafkaFailure as error:
        raise StartRefused(f"Kafka: {error}") from error


def _say(what: str, done: Sequence[str]) -> None:
    sys.stdout.write(f"{what}: {', '.join(done) or 'nothing to do'}\n")


def _token(arguments: argparse.Namespace) -> int:
    settings = load(AccessSettings)
    claims: dict[str, object] = {"sub": arguments.sub, "scope": " ".join(_SCOPES[name] for name in arguments.scope)}
    bound = {
        "course_id": arguments.course,
        "quiz_id": arguments.quiz,
        "submission_id": arguments.submission,
        "attempt": arguments.attempt,
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
    }
    claims |= {name: value for name, value in bound.items() if value is not None}
    sys.stdout.write(issue_token(_secret(settings), claims, arguments.ttl) + "\n")
    return 0


def _secret(settings: AccessSettings) -> str:
    if settings.jwt_secret is not None:
        return settings.jwt_secret.get_secret_value()
    from quizstream.local.secret import read_secret  # noqa: PLC0415  only where `dev` has run

    kept = read_secret(Path(".quizstream"))
    if kept is None:
        raise StartRefused("set QUIZSTREAM_JWT_SECRET, or run `quizstream dev` once in this directory")
    return kept


def _operator() -> "Operator":
    from quizstream.worker.operate import Operator  # noqa: PLC0415  as above

    return Operator(load(PostgresSettings))


def _selection(arguments: argparse.Namespace) -> "Selection":
    from quizstream.worker.quarantine import Selection  # noqa: PLC0415  as above

    return Selection(
        arguments.id,
        arguments.reason,
        arguments.course,
        arguments.submission,
        arguments.since,
        arguments.until,
        arguments.limit,
    )


def _list(arguments: argparse.Namespace) -> int:
    sys.stdout.write(_wait_for(_operator().list_quarantine(_selection(arguments), as_json=arguments.json)))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    shown = _wait_for(_operator().show(arguments.id))
    if shown is None:
        raise StartRefused(f"{arguments.id} is not in quarantine")
    sys.stdout.write(shown)
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    """Status 1 where something is unusable still."""
    from quizstream.gateway.reread import read_element  # noqa: PLC0415  as above
    from quizstream.worker.operate import send_again  # noqa: PLC0415  as above
    from quizstream.worker.replay import Rules  # noqa: PLC0415  as above
    from quizstream.worker.settings import OperatorSettings  # noqa: PLC0415  as above

    rules = Rules(read_element, arguments.set_event_type)
    done = _wait_for(send_again(load(OperatorSettings), _selection(arguments), rules))
    sys.stdout.write(f"sent again: {done.sent}\n")
    sys.stdout.writelines(f"still unusable, {reason}: {count}\n" for reason, count in sorted(done.unusable.items()))
    return 1 if done.unusable else 0


def _drop(arguments: argparse.Namespace) -> int:
    if arguments.reason is None and arguments.id is None:
        raise StartRefused("name --reason or --id: dropped rows are gone for good")
    selection = _selection(arguments)
    if not arguments.yes:
        raise StartRefused(f"{_wait_for(_operator().count(selection))} would be dropped for good: add --yes")
    sys.stdout.write(f"dropped: {_wait_for(_operator().drop(selection))}\n")
    return 0


def _hold(arguments: argparse.Namespace) -> int:
    _wait_for(_operator().hold(arguments.course, arguments.reason))
    sys.stdout.write(f"held: {arguments.course}\n")
    return 0


def _release(arguments: argparse.Namespace) -> int:
    if not _wait_for(_operator().release(arguments.course)):
        raise StartRefused(f"course {arguments.course} is not held")
    sys.stdout.write(f"released: {arguments.course}\n")
    return 0


def _list_holds(_: argparse.Namespace) -> int:
    sys.stdout.write(_wait_for(_operator().list_holds()))
    return 0


def _id(text: str) -> int:
    try:
        return parse_id(text)
    except UnknownResource:
        raise argparse.ArgumentTypeError("must be an id, 1..9223372036854775807 or shard~local") from None


def _part(text: str) -> str:
    if text not in _PARTS:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(_PARTS)}")
    return text


def _attempt(text: str) -> int:
    attempt = parse_attempt(text)
    if attempt is None:
        raise argparse.ArgumentTypeError("must be in 1..10000")
    return attempt


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not int(text):
        raise argparse.ArgumentTypeError("must be a number from 1 on")
    return int(text)


def _instant(text: str) -> datetime:
    """Read a time with or without a zone (then UTC), or how long ago it was."""
    if re.fullmatch(r"[0-9]{1,9}[smhd]", text):
        return datetime.now(UTC) - timedelta(seconds=_seconds(text))
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a time such as 2026-11-21T10:00Z, or such as 90m (ago)") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if not found or not int(found[1]):
        raise argparse.ArgumentTypeError("must be a number and one of s, m, h, d, such as 90s")
    return int(found[1]) * _SECONDS_PER_UNIT[found[2]]


if __name__ == "__main__":
    sys.exit(main())
