"""`/openapi.json` and `/docs`: an OpenAPI document as it is, and as a page to read that needs no other host."""

import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import Final

from aiohttp import hdrs, web

DOCUMENT_PATH: Final = "/openapi.json"
PAGE_PATH: Final = "/docs"

_STYLE: Final = (
    "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "pre,code{background:#f3f3f3;white-space:pre-wrap}dt{font-weight:bold;margin-top:.6em}"
    "p{white-space:pre-line}pre{padding:.6em}h2{border-top:1px solid #999;padding-top:.8em}"
)
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def attach_documents(app: web.Application, document: Mapping[str, object]) -> None:
    """Let `app` show an OpenAPI document to whoever asks; nothing in it may be secret."""
    written = json.dumps(document).encode()
    page = render_page(document).encode()
    app.router.add_get(DOCUMENT_PATH, _showing(written, "application/json; charset=utf-8", {}))
    headers = {
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    app.router.add_get(PAGE_PATH, _showing(page, "text/html; charset=utf-8", headers))


def _showing(
    body: bytes, content_type: str, headers: Mapping[str, str]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    sent = {**headers, hdrs.CONTENT_TYPE: content_type, hdrs.CACHE_CONTROL: "no-cache"}

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=sent)

    return show


def render_page(document: Mapping[str, object]) -> str:
    """Give the page that says what `document` says; every text of it is escaped."""
    info = _members(document.get("info"))
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{_text(info.get('title'))}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{_text(info.get('title'))} {_text(info.get('version'))}</h1>{_prose(info)}",
            f'<p>For programs: <a href="{DOCUMENT_PATH}">{DOCUMENT_PATH}</a></p>',
            *(line for path, item in _named(document.get("paths")) for line in _path(path, item)),
            "<h2>Tokens</h2>",
            *_definitions(_named(_members(document.get("components")).get("securitySchemes"))),
            "<h2>Schemas</h2>",
            *(
                line
                for name, schema in _named(_members(document.get("components")).get("schemas"))
                for line in (f"<h3>{_text(name)}</h3>", _json(schema))
            ),
            "</body></html>",
        )
    )


def _path(path: str, item: Mapping[str, object]) -> Iterator[str]:
    yield f"<h2><code>{_text(path)}</code></h2>"
    yield from _parameters(item)
    for method, operation in _named(item):
        yield f"<h2>{_text(method.upper())}: {_text(operation.get('summary'))}</h2>{_prose(operation)}"
        yield from _parameters(operation)
        if body := _members(operation.get("requestBody")):
            yield "<h3>Body</h3>"
            for content_type, content in _named(body.get("content")):
                yield f"<h4><code>{_text(content_type)}</code></h4>{_json(content.get('schema'))}"
        yield "<h3>Answers</h3>"
        yield from _definitions(_named(operation.get("responses")))


def _parameters(item: Mapping[str, object]) -> Iterator[str]:
    listed = item.get("parameters")
    parameters = [_members(parameter) for parameter in listed] if isinstance(listed, list) else []
    yield from _definitions((f"{each.get('name')} ({each.get('in')})", each) for each in parameters)


def _definitions(entries: Iterator[tuple[str, Mapping[str, object]]]) -> Iterator[str]:
    yield "<dl>"
    for name, entry in entries:
        yield f"<dt><code>{_text(name)}</code></dt><dd>{_prose(entry)}"
        codes = entry.get("x-codes")
        if isinstance(codes, list):
            yield " ".join(f"<code>{_text(code)}</code>" for code in codes)
        if "schema" in entry:
            yield f"<code>{_text(json.dumps(entry['schema']))}</code>"
        for header, described in _named(entry.get("headers")):
            yield f"<br><code>{_text(header)}</code>: {_text(described.get('description'))}"
        yield "</dd>"
    yield "</dl>"


def _named(value: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    return ((name, entry) for name, entry in _members(value).items() if isinstance(entry, Mapping))


def _members(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _prose(entry: Mapping[str, object]) -> str:
    return f"<p>{_text(entry.get('description'))}</p>" if entry.get("description") else ""


def _json(value: object) -> str:
    return f"<pre>{_text(json.dumps(value, indent=2))}</pre>"


def _text(value: object) -> str:
    return escape("" if value is None else str(value))
