"""The rules by which published contracts may change within a major version: who read or sent before still can.

What is given may only become narrower and gain members; what is taken may only become wider. Both are one question: is
every value of one schema a value of another? What is not evidently so counts as a break.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.schemas import Document, member, members

Contract = Mapping[str, Document]

LOWER_BOUNDS = ("minimum", "minLength", "minItems")
UPPER_BOUNDS = ("maximum", "maxLength", "maxItems")
EXACT = ("pattern", "format", "contentMediaType")


def breaks(old: Contract, new: Contract) -> list[str]:
    """Say in one line each what in `new` takes from clients and consumers of `old` what they rely on."""
    return [
        *_record_breaks("event-record.schema.json", old, new),
        *_record_breaks("quarantine-record.schema.json", old, new),
        *_topic_breaks(old["asyncapi.json"], new["asyncapi.json"]),
        *_api_breaks(old["openapi.json"], new["openapi.json"]),
    ]


@dataclass(frozen=True)
class Comparison:
    """Asks whether all values of `inner` are values of `outer`; references are looked up in their documents."""

    inner_document: Document
    outer_document: Document
    taken: bool = False

    def breaks(self, inner: object, outer: object, where: str) -> Iterator[str]:
        """Say where a value of `inner` need not be one of `outer`."""
        narrow, wide = _resolved(inner, self.inner_document), _resolved(outer, self.outer_document)
        if "anyOf" in wide:
            yield from self._breaks_of_alternatives(narrow, wide, where)
        elif "anyOf" in narrow:
            rest = {name: value for name, value in narrow.items() if name != "anyOf"}
            for alternative in _list(narrow["anyOf"]):
                yield from self.breaks({**rest, **_dict(alternative)}, wide, where)
        else:
            yield from _breaks_of_value(narrow, wide, where)
            yield from self._breaks_of_members(narrow, wide, where)

    def _breaks_of_alternatives(self, inner: Document, outer: Document, where: str) -> Iterator[str]:
        for one in _list(inner.get("anyOf")) or [inner]:
            if all(any(self.breaks(one, other, where)) for other in _list(outer["anyOf"])):
                yield f"{where}: an alternative fits none of the others"

    def _breaks_of_members(self, inner: Document, outer: Document, where: str) -> Iterator[str]:
        yield from (f"{where}.{name}: not sure to be there" for name in _required(outer) - _required(inner))
        ours, others = _dict(inner.get("properties")), _dict(outer.get("properties"))
        gone = ours.keys() - others.keys() if self.taken else others.keys() - ours.keys()
        yield from (f"{where}.{name}: gone" for name in gone)
        for name in ours.keys() & others.keys():
            yield from self.breaks(ours[name], others[name], f"{where}.{name}")
        for name in {"items", "additionalProperties"} & outer.keys():
            yield from self.breaks(inner.get(name), outer[name], f"{where}[]")


def _breaks_of_value(inner: Document, outer: Document, where: str) -> Iterator[str]:
    if _types(outer) and not (_types(inner) and _types(inner) <= _types(outer)):
        yield f"{where}: may be of another type"
    if _values(outer) and not (_values(inner) and _values(inner) <= _values(outer)):
        yield f"{where}: may have another value"
    for name in EXACT:
        if name in outer and inner.get(name) != outer[name]:
            yield f"{where}: another {name}"
    for names, sign in ((LOWER_BOUNDS, 1), (UPPER_BOUNDS, -1)):
        for name in names:
            if name in outer and not _at_least(inner.get(name), outer[name], sign):
                yield f"{where}: beyond {name}"


def _record_breaks(name: str, old: Contract, new: Contract) -> Iterator[str]:
    yield from Comparison(new[name], old[name]).breaks(new[name], old[name], name)
    was, now = (list(members(version[name], "properties"))[-1] for version in (old, new))
    if was != now:
        yield f"{name}: the last member is no longer {was}"


def _topic_breaks(old: Document, new: Document) -> Iterator[str]:
    for name, channel in members(old, "channels").items():
        if _at(new, "channels", name, "address") != member(channel, "address"):
            yield f"topic {name}: moved"
    for name in members(old, "components", "messages"):
        for path in (("headers",), ("bindings", "kafka", "key")):
            now, was = (_at(version, "components", "messages", name, *path) for version in (new, old))
            yield from Comparison(new, old).breaks(now, was, f"{name} {path[-1]}")


def _api_breaks(old: Document, new: Document) -> Iterator[str]:
    for path, item in members(old, "paths").items():
        for method, was in members(item).items():
            now, where = _at(new, "paths", path, method), f"{method} {path}"
            if method == "parameters":
                yield from _parameter_breaks(was, now, where)
            elif isinstance(now, dict):
                yield from _operation_breaks(_dict(was), now, old, new, where)
            else:
                yield f"{where}: gone"
    for name, scheme in members(old, "components", "securitySchemes").items():
        now = _at(new, "components", "securitySchemes", name)
        if {**_dict(now), "description": ""} != {**_dict(scheme), "description": ""}:
            yield f"token {name}: another way to send it"


def _operation_breaks(was: Document, now: Document, old: Document, new: Document, where: str) -> Iterator[str]:
    yield from _parameter_breaks(was.get("parameters"), now.get("parameters"), where)
    for content_type, body in _dict(_at(was, "requestBody", "content")).items():
        taken = _at(now, "requestBody", "content", content_type)
        if taken is None:
            yield f"{where}: does not take {content_type} any more"
        else:
            comparison = Comparison(old, new, taken=True)
            yield from comparison.breaks(member(body, "schema"), _at(taken, "schema"), f"{where} {content_type}")
    for status, response in members(was, "responses").items():
        given = _at(now, "responses", status)
        if given is None:
            yield f"{where}: no answer {status} any more"
        else:
            yield from _response_breaks(_dict(response), _dict(given), Comparison(new, old), f"{where} {status}")


def _response_breaks(was: Document, now: Document, comparison: Comparison, where: str) -> Iterator[str]:
    gone = set(map(str, _list(was.get("x-codes")))) - set(map(str, _list(now.get("x-codes"))))
    yield from (f"{where}: no code {code} any more" for code in gone)
    for name, header in _dict(was.get("headers")).items():
        given = _dict(_at(now, "headers", name))
        if not given or (_at(header, "required") and not given.get("required")):
            yield f"{where}: header {name} is not sure to be there"
        else:
            yield from comparison.breaks(given.get("schema"), member(header, "schema"), f"{where} {name}")
    for content_type, content in _dict(was.get("content")).items():
        given_schema = _at(now, "content", content_type, "schema")
        yield from comparison.breaks(given_schema, member(content, "schema"), f"{where} {content_type}")


def _parameter_breaks(old: object, new: object, where: str) -> Iterator[str]:
    was, now = _by_name(old), _by_name(new)
    for name, parameter in was.items():
        if name not in now:
            yield f"{where}: {name} is not read any more"
        else:
            yield from Comparison({}, {}, taken=True).breaks(
                parameter["schema"], now[name]["schema"], f"{where} {name}"
            )
    for name, parameter in now.items():
        if parameter.get("required") and not was.get(name, {}).get("required"):
            yield f"{where}: {name} is asked for now"


def _by_name(parameters: object) -> dict[str, Document]:
    return {f"{member(each, 'name')} ({member(each, 'in')})": _dict(each) for each in _list(parameters)}


def _resolved(schema: object, document: Document) -> Document:
    found = _dict(schema)
    reference = found.get("$ref")
    if not isinstance(reference, str):
        return found
    rest = {name: value for name, value in found.items() if name != "$ref"}
    return {**members(document, *reference.removeprefix("#/").split("/")), **rest}


def _required(schema: Document) -> set[str]:
    return set(map(str, _list(schema.get("required"))))


def _types(schema: Document) -> set[str]:
    """The types that a schema names; none where it allows all."""
    named = schema.get("type", [])
    types = set(map(str, named)) if isinstance(named, list) else {str(named)}
    return types | {"integer"} if "number" in types else types


def _values(schema: Document) -> set[str]:
    """The values that a schema names; none where it allows others."""
    return {repr(value) for value in ([schema["const"]] if "const" in schema else _list(schema.get("enum")))}


def _at_least(inner: object, outer: object, sign: int) -> bool:
    return isinstance(inner, int) and isinstance(outer, int) and sign * inner >= sign * outer


def _at(value: object, *path: str) -> object:
    """What lies under `path`, None where nothing does."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _dict(value: object) -> Document:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()
