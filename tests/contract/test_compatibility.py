"""Version 1 of the contracts, frozen: no change of `schemas/` may take anything from who relies on it.

When a version adds something, the frozen files stay: they are the oldest that is promised. They may only be made anew
with a new major version (of `ce_type`, or of the API).
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import schemas
from tests.contract.compatibility import breaks
from tests.schemas import Document, member, members

FROZEN = Path(__file__).with_name("frozen")
EVENT, QUARANTINED = "event-record.schema.json", "quarantine-record.schema.json"
API, TOPICS = "openapi.json", "asyncapi.json"
NAMES = (EVENT, QUARANTINED, API, TOPICS)
V1: dict[str, Document] = {name: json.loads((FROZEN / name).read_text(encoding="utf-8")) for name in NAMES}
(ROUTE,) = members(V1[API], "paths")
POST, GET = (("paths", ROUTE, method) for method in ("post", "get"))
REQUEST = ("components", "schemas", "Request", "properties")
ANSWERED = ("components", "schemas", "Answer", "properties", "quiz_submission_events", "items")
ITEM = ("components", "schemas", "Error", "properties", "errors", "items")
HEADERS = ("components", "messages", "event", "headers")

Change = Callable[[dict[str, Document]], object]


def drop(document: str, *path: str) -> Change:
    """Take a member, or an entry of a list, away."""

    def change(contract: dict[str, Document]) -> None:
        holder = member(contract[document], *path[:-1])
        if isinstance(holder, list):
            holder.remove(path[-1])
        else:
            members(holder).pop(path[-1])

    return change


def put(value: object, document: str, *path: str) -> Change:
    """Set a member, or add an entry to a list."""

    def change(contract: dict[str, Document]) -> None:
        holder = member(contract[document], *path[:-1])
        if isinstance(holder, list):
            holder.append(value)
        else:
            members(holder)[path[-1]] = value

    return change


def move_last_member(contract: dict[str, Document]) -> None:
    properties = members(contract[EVENT], "properties")
    properties["added_behind"] = {"type": "string"}


def add_before_last_member(contract: dict[str, Document]) -> None:
    properties = members(contract[EVENT], "properties")
    last = properties.pop("event_data")
    properties.update({"shard": {"type": "string"}, "event_data": last})


def drop_alternative(contract: dict[str, Document]) -> None:
    """Elements that are bare strings are not taken any more."""
    items = members(contract[API], *REQUEST, "quiz_submission_events", "items")
    alternatives = items["anyOf"]
    assert isinstance(alternatives, list)
    alternatives.pop()


def ask_for(contract: dict[str, Document]) -> None:
    parameters = member(contract[API], *POST, "parameters")
    assert isinstance(parameters, list)
    parameters.append({"in": "header", "name": "X-Shard", "required": True, "schema": {"type": "string"}})


def forget_parameter(contract: dict[str, Document]) -> None:
    parameters = member(contract[API], *GET, "parameters")
    assert isinstance(parameters, list)
    parameters.pop()


BREAKING: dict[str, Change] = {
    "record: a required member is removed": drop(EVENT, "required", "actor"),
    "record: an optional member is removed": drop(EVENT, "properties", "replayed"),
    "record: a type is added": put(["integer", "null", "string"], EVENT, "properties", "attempt", "type"),
    "record: a type is changed": put("integer", EVENT, "$defs", "id", "type"),
    "record: a form is changed": put("^[0-9a-f]{32}$", EVENT, "properties", "event_id", "pattern"),
    "record: a bound is lifted": put(1000, EVENT, "properties", "event_type", "maxLength"),
    "record: a bound is removed": drop(EVENT, "properties", "attempt", "maximum"),
    "record: something stands behind the data": move_last_member,
    "quarantine: a required member is removed": drop(QUARANTINED, "required", "reason"),
    "topic: another major version under the same document": put(
        "org.quizstream.submission.event.v2", TOPICS, *HEADERS, "properties", "ce_type", "const"
    ),
    "topic: a header is removed": drop(TOPICS, *HEADERS, "required", "ce_id"),
    "topic: another name": put("events", TOPICS, "channels", "events", "address"),
    "topic: another key": put(
        "^[a-z]+$", TOPICS, "components", "messages", "event", "bindings", "kafka", "key", "pattern"
    ),
    "request: a member is asked for": put("attempt", API, "components", "schemas", "Request", "required", "+"),
    "request: a member is not read any more": drop(API, *REQUEST, "access_token"),
    "request: fewer elements": put(10, API, *REQUEST, "quiz_submission_events", "maxItems"),
    "request: fewer shapes": drop_alternative,
    "request: a content type is not taken any more": drop(API, *POST, "requestBody", "content", "text/plain"),
    "request: a header is asked for": ask_for,
    "request: a parameter is not read any more": forget_parameter,
    "answer: a member may be missing": drop(API, *ANSWERED, "required", "event_data"),
    "answer: an id is a number": put("integer", API, *ANSWERED, "properties", "id", "type"),
    "answer: times have fractions": drop(API, *ANSWERED, "properties", "created_at", "pattern"),
    "answer: a header may be missing": drop(API, *GET, "responses", "200", "headers", "Link", "required"),
    "error: a code is removed": drop(API, *POST, "responses", "422", "x-codes", "event_type_empty"),
    "error: a status is removed": drop(API, *POST, "responses", "413"),
    "error: no codes": drop(API, *ITEM, "required", "code"),
    "error: no problem+json": drop(API, *GET, "responses", "404", "content", "application/problem+json"),
    "api: a method is removed": drop(API, "paths", ROUTE, "head"),
    "api: a token is sent otherwise": put("token", API, "components", "securitySchemes", "query_token", "name"),
}

COMPATIBLE: dict[str, Change] = {
    "record: a member is added before the data": add_before_last_member,
    "record: a member is promised": put("replayed", EVENT, "required", "+"),
    "record: a description is changed": put("Otherwise.", EVENT, "properties", "event_type", "description"),
    "record: a bound is tightened": put(100, EVENT, "properties", "event_type", "maxLength"),
    "topic: a header is added": put({"type": "string"}, TOPICS, *HEADERS, "properties", "traceparent"),
    "request: a member is added": put({"type": "string"}, API, *REQUEST, "sent_at"),
    "request: more elements": put(100_000, API, *REQUEST, "quiz_submission_events", "maxItems"),
    "request: a content type is added": put({"schema": {}}, API, *POST, "requestBody", "content", "application/cbor"),
    "answer: a member is added": put({"type": "string"}, API, *ANSWERED, "properties", "actor"),
    "answer: a header is added": put(
        {"schema": {"type": "string"}}, API, *GET, "responses", "200", "headers", "Last-Modified"
    ),
    "error: a code is added": put("event_type_unknown", API, *POST, "responses", "422", "x-codes", "+"),
    "error: a status is added": put({"description": "Gone."}, API, *GET, "responses", "410"),
    "api: a method is added": put({"responses": {}}, API, "paths", ROUTE, "delete"),
}


def changed(change: Change) -> dict[str, Document]:
    contract = copy.deepcopy(V1)
    change(contract)
    assert contract != V1
    return contract


def test_the_published_contracts_keep_version_1() -> None:
    assert breaks(V1, {name: schemas.document(name) for name in NAMES}) == []


@pytest.mark.parametrize("change", BREAKING.values(), ids=BREAKING)
def test_a_change_that_breaks_older_clients_or_consumers_is_found(change: Change) -> None:
    assert breaks(V1, changed(change)) != []


@pytest.mark.parametrize("change", COMPATIBLE.values(), ids=COMPATIBLE)
def test_a_change_that_only_adds_is_none(change: Change) -> None:
    assert breaks(V1, changed(change)) == []
