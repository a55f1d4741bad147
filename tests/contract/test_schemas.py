"""`schemas/` says what the code does: equal where it is generated, checked against the code where it is written."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import schemas

from quizstream.contracts import openapi, records, topics
from quizstream.contracts.canaries import FIRST_RESERVED_ID, is_reserved
from quizstream.contracts.errors import Refusal
from quizstream.contracts.events import CapturedEvent, IdentifiedElement, IdentifiedEvent, Origin, UnusableElement
from quizstream.contracts.identity import random_id
from quizstream.contracts.reasons import REASONS
from quizstream.contracts.records import (
    RecordEncoder,
    UnreadableRecord,
    decode_event,
    decode_quarantined,
    encode_replayed,
)
from quizstream.contracts.resources import MAX_ATTEMPT, MAX_ID, Attempt, CourseId, QuizId, Resource, SubmissionId
from quizstream.contracts.topics import planned_topics, quarantine_topic
from quizstream.gateway.content_type import ContentType
from quizstream.gateway.elements import REASONS as ELEMENT_REASONS
from quizstream.gateway.parse import parse
from quizstream.gateway.settings import GatewaySettings

JSON_SCHEMAS = ("request", "answer", "error", "event-record", "quarantine-record")
TOPIC = GatewaySettings.model_fields["topic"].default
RECORDS = {"event-record": decode_event, "quarantine-record": decode_quarantined}
MESSAGES = {
    "event": ("events", records.EVENT_TYPE),
    "canary": ("events", records.CANARY_TYPE),
    "quarantinedElement": ("quarantine", records.QUARANTINE_TYPE),
}
CHANNELS = ("events", "quarantine")


def every_example(kind: str, *names: str) -> list[tuple[str, Path]]:
    return [(name, path) for name in names or JSON_SCHEMAS for path in schemas.examples(kind, name)]


def stem_of(value: object) -> str:
    return value.stem if isinstance(value, Path) else str(value)


def outcome_of(body: bytes) -> str | None:
    """The code of the first fault that the gateway finds in a JSON body, None where all of it is stored."""
    try:
        submission = parse(body, ContentType("json"))
    except Refusal as refusal:
        return refusal.code
    return submission.unusable[0].reason if submission.unusable else None


@pytest.mark.parametrize("name", openapi.PUBLISHED)
def test_a_generated_file_is_what_the_code_gives(name: str) -> None:
    assert schemas.text(name) == openapi.published(name), (
        f"run: python -m quizstream.contracts.openapi {name} > schemas/{name}"
    )


@pytest.mark.parametrize("name", JSON_SCHEMAS)
def test_a_schema_is_one_and_has_examples_of_both_kinds(name: str) -> None:
    schema = schemas.document(f"{name}.schema.json")
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    schemas.validator(schema).check_schema(schema)
    assert schemas.examples("accepted", name)
    assert schemas.examples("refused", name)


@pytest.mark.parametrize(("name", "path"), every_example("accepted"), ids=stem_of)
def test_a_schema_takes_the_accepted_examples(name: str, path: Path) -> None:
    schemas.validator(schemas.document(f"{name}.schema.json")).validate(json.loads(path.read_text()))


@pytest.mark.parametrize(("name", "path"), every_example("refused"), ids=stem_of)
def test_a_schema_refuses_the_refused_examples(name: str, path: Path) -> None:
    assert not schemas.validator(schemas.document(f"{name}.schema.json")).is_valid(json.loads(path.read_text()))


@pytest.mark.parametrize("path", schemas.examples("accepted", "request"), ids=stem_of)
def test_the_gateway_stores_all_of_an_accepted_request(path: Path) -> None:
    assert outcome_of(path.read_bytes()) is None


@pytest.mark.parametrize("path", schemas.examples("refused", "request"), ids=stem_of)
def test_the_gateway_finds_the_fault_that_names_a_refused_request(path: Path) -> None:
    assert outcome_of(path.read_bytes()) == path.stem.partition("--")[0]


def test_there_is_an_example_for_every_reason_of_quarantine() -> None:
    assert {path.stem for path in schemas.examples("refused", "request")} >= ELEMENT_REASONS.keys()


@pytest.mark.parametrize(("name", "path"), every_example("accepted", *RECORDS), ids=stem_of)
def test_the_worker_reads_an_accepted_record(name: str, path: Path) -> None:
    RECORDS[name](path.read_bytes().strip())


@pytest.mark.parametrize(("name", "path"), every_example("refused", *RECORDS), ids=stem_of)
def test_the_worker_refuses_a_refused_record(name: str, path: Path) -> None:
    with pytest.raises(UnreadableRecord):
        RECORDS[name](path.read_bytes().strip())


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
event_types = st.text() | st.sampled_from(["", "\0", "x" * 255, "x" * 256, "🙂" * 255, "🙂" * 256]) | json_values
elements = st.fixed_dictionaries(
    {}, optional={"event_type": event_types, "client_timestamp": json_values, "event_data": json_values}
)
# Of numbers that are whole, but written with a fraction, a schema cannot tell; the gateway takes digits only.
attempts = st.sampled_from(["1", "010000", "10001", "0", "", "1 ", "1.0", "0" * 19 + "1", None, 0, 1, 10_000, 10_001])
bodies = st.fixed_dictionaries(
    {},
    optional={
        "quiz_submission_events": st.lists(elements | event_types, max_size=3) | json_values,
        "attempt": attempts | st.text() | st.integers() | st.lists(st.none()),
        "access_token": json_values,
    },
)
REQUEST = schemas.validator(schemas.document("request.schema.json"))


@given(bodies | json_values)
def test_the_schema_of_a_request_allows_exactly_what_the_gateway_stores_whole(body: object) -> None:
    written = json.dumps(body).encode()
    assert (outcome_of(written) is None) == REQUEST.is_valid(body)


def test_one_element_too_many_is_refused_by_schema_and_gateway() -> None:
    body = {"quiz_submission_events": ["a"] * 50_001}
    assert outcome_of(json.dumps(body).encode()) == "too_many_events"
    assert not REQUEST.is_valid(body)


ids = st.integers(1, MAX_ID)
submissions = st.builds(SubmissionId, ids | st.integers(FIRST_RESERVED_ID, MAX_ID))
resources = st.builds(Resource, st.builds(CourseId, ids), st.builds(QuizId, ids), submissions)
instants = st.datetimes(datetime(2000, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  bounds
storable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=255)
origins = st.builds(
    Origin, resources, st.none() | st.builds(Attempt, st.integers(1, MAX_ATTEMPT)), instants, st.none() | storable
)
texts_of_json = json_values.map(lambda value: json.dumps(value).encode())
events = st.builds(CapturedEvent, storable.filter(bool), st.none() | storable, texts_of_json)
unusable = st.builds(UnusableElement, st.integers(0, 49_999), st.sampled_from(sorted(ELEMENT_REASONS)), texts_of_json)
EVENT_RECORD = schemas.validator(schemas.document("event-record.schema.json"))
QUARANTINE_RECORD = schemas.validator(schemas.document("quarantine-record.schema.json"))
ASYNCAPI = schemas.document("asyncapi.json")


def headers_of(message: str) -> schemas.Document:
    return schemas.members(ASYNCAPI, "components", "messages", message, "headers")


def message_of(origin: Origin) -> str:
    return "canary" if is_reserved(origin.resource.submission_id) else "event"


def check_record(record: records.Record, message: str, id_member: str, time_member: str) -> schemas.Document:
    """Check headers and key as published, and give the value."""
    value: schemas.Document = json.loads(record.value)
    headers = {name: content.decode() for name, content in record.headers}
    schemas.validator(headers_of(message)).validate(headers)
    key = schemas.members(ASYNCAPI, "components", "messages", message, "bindings", "kafka", "key")
    schemas.validator(key).validate(record.key.decode())
    assert record.key.decode() == value["submission_id"]
    assert (headers["ce_id"], headers["ce_time"]) == (value[id_member], value[time_member])
    return value


@given(origins, instants, events)
def test_every_event_that_is_published_keeps_its_contract(
    origin: Origin, occurred_at: datetime, event: CapturedEvent
) -> None:
    record = RecordEncoder(origin).encode_event(IdentifiedEvent(random_id(), occurred_at, event))
    EVENT_RECORD.validate(check_record(record, message_of(origin), "event_id", "occurred_at"))


@given(origins, instants, events, st.none() | st.uuids().map(str))
def test_every_event_that_comes_back_from_quarantine_keeps_its_contract(
    origin: Origin, occurred_at: datetime, event: CapturedEvent, quarantine_id: str | None
) -> None:
    stored = decode_event(RecordEncoder(origin).encode_event(IdentifiedEvent(random_id(), occurred_at, event)).value)
    stored.quarantine_id = quarantine_id
    value = check_record(encode_replayed(stored), message_of(origin), "event_id", "occurred_at")
    EVENT_RECORD.validate(value)
    assert value["replayed"] is True
    assert list(value)[-1] == "event_data"


@given(origins, unusable)
def test_every_quarantined_element_that_is_published_keeps_its_contract(
    origin: Origin, element: UnusableElement
) -> None:
    record = RecordEncoder(origin).encode_quarantined(IdentifiedElement(random_id(), element))
    QUARANTINE_RECORD.validate(check_record(record, "quarantinedElement", "quarantine_id", "received_at"))


def test_the_named_reasons_are_those_of_the_gateway() -> None:
    schema = schemas.document("quarantine-record.schema.json")
    assert schemas.member(schema, "properties", "reason", "examples") == list(ELEMENT_REASONS)
    assert set(ELEMENT_REASONS) <= REASONS


# asyncapi3 has members named `schema`, of which pydantic warns.
@pytest.mark.filterwarnings("ignore:Field name:UserWarning")
def test_the_asyncapi_document_is_one() -> None:
    from asyncapi3 import AsyncAPI3  # noqa: PLC0415  the import warns

    AsyncAPI3.model_validate(ASYNCAPI)


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_asyncapi_document_names_the_topics_as_they_are_made(channel: str) -> None:
    published = schemas.members(ASYNCAPI, "channels", channel)
    bound = schemas.members(published, "bindings", "kafka")
    address = TOPIC if channel == "events" else quarantine_topic(TOPIC)
    (planned,) = (
        topic
        for topic in planned_topics(TOPIC, GatewaySettings.model_fields["partitions"].default)
        if topic.name == address
    )
    assert published["address"] == bound["topic"] == address
    assert (bound["partitions"], bound["replicas"]) == (planned.partitions, topics.REPLICATION_FACTOR)
    settings = schemas.members(bound, "topicConfiguration")
    written = {name: value if isinstance(value, list) else [json.dumps(value)] for name, value in settings.items()}
    assert {name: ",".join(value).strip('"') for name, value in written.items()} == planned.configs


@pytest.mark.parametrize("name", MESSAGES)
def test_the_asyncapi_document_leads_to_message_type_and_schema(name: str) -> None:
    channel, ce_type = MESSAGES[name]
    assert schemas.member(ASYNCAPI, "channels", channel, "messages", name, "$ref") == f"#/components/messages/{name}"
    message = schemas.members(ASYNCAPI, "components", "messages", name)
    assert schemas.member(message, "headers", "properties", "ce_type", "const") == ce_type
    payload = schemas.document(str(schemas.member(message, "payload", "schema", "$ref")))
    examples = message["examples"]
    assert isinstance(examples, list)
    for example in examples:
        schemas.validator(headers_of(name)).validate(example["headers"])
        schemas.validator(payload).validate(example["payload"])
