"""Content codings: what was compressed comes back, whatever is broken or too much is refused, in bounded pieces."""

import gzip
import sys
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quizstream.contracts.errors import BadBody, BodyTooLarge, UnsupportedMedia
from quizstream.gateway.content_codings import MAX_MEMBERS, PIECE_BYTES, Decoder, parse_content_encoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMIT = 1_048_576


def bare_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


COMPRESS: dict[str, list[Callable[[bytes], bytes]]] = {
    "gzip": [gzip.compress],
    "deflate": [zlib.compress, bare_deflate, lambda data: zlib.compress(data, 0)],
    "zstd": [zstd.compress],
}
codings = st.sampled_from([(name, compress) for name, ways in COMPRESS.items() for compress in ways])
FIRST = pytest.mark.parametrize("coding", list(COMPRESS))


def decode(named: Sequence[str], pieces: Sequence[bytes], limit: int = LIMIT) -> bytes:
    decoder = Decoder(named, limit)
    decoded = [part for piece in pieces for part in decoder.feed(piece)]
    decoder.finish()
    return b"".join(decoded)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(
    st.tuples(st.binary(max_size=2_000), st.just(1)) | st.tuples(st.binary(max_size=20), st.just(10_000)),
    codings,
    st.integers(1, 64),
)
def test_what_was_compressed_comes_back(
    repeated: tuple[bytes, int], coding: tuple[str, Callable[[bytes], bytes]], size: int
) -> None:
    data, times = repeated
    data *= times
    name, compress = coding
    assert decode([name], cut(compress(data), size)) == data


@given(st.binary(max_size=500), st.lists(codings, max_size=3))
def test_codings_are_undone_in_the_opposite_order(
    data: bytes, chain: Sequence[tuple[str, Callable[[bytes], bytes]]]
) -> None:
    sent = data
    for _, compress in chain:
        sent = compress(sent)
    assert decode([name for name, _ in chain], [sent]) == data


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_several_members_are_one_body(coding: str, size: int) -> None:
    compress = COMPRESS[coding][0]
    assert decode([coding], cut(compress(b"one") + compress(b"") + compress(b"two"), size)) == b"onetwo"


@FIRST
def test_a_truncated_body_is_refused(coding: str) -> None:
    for compress in COMPRESS[coding]:
        whole = compress(b"abc" * 100)
        for end in range(1, len(whole)):
            with pytest.raises(BadBody) as refused:
                decode([coding], [whole[:end]])
            assert refused.value.code == "compression_broken"


@FIRST
@pytest.mark.parametrize("garbage", [b"x", b"\0", b"garbage behind the end"])
def test_garbage_behind_the_end_is_refused(coding: str, garbage: bytes) -> None:
    for compress in COMPRESS[coding]:
        with pytest.raises(BadBody):
            decode([coding], [compress(b"abc"), garbage])


@given(st.binary(min_size=1, max_size=200), st.sampled_from(list(COMPRESS)))
def test_any_bytes_decode_or_are_refused(data: bytes, coding: str) -> None:
    with suppress(BadBody):
        decode([coding], [data])


@FIRST
def test_a_bomb_is_stopped_at_the_limit_and_comes_in_pieces(coding: str) -> None:
    for compress in COMPRESS[coding]:
        bomb = compress(bytes(20 * LIMIT))
        assert decode([coding], [compress(bytes(LIMIT))]) == bytes(LIMIT)
        pieces: list[bytes] = []
        with pytest.raises(BodyTooLarge):
            pieces.extend(Decoder([coding], LIMIT).feed(bomb))
        assert max(map(len, pieces)) <= PIECE_BYTES
        assert LIMIT - PIECE_BYTES <= sum(map(len, pieces)) <= LIMIT


def test_no_coding_inside_another_gives_more_than_the_limit() -> None:
    empty_members = gzip.compress(b"") * (2 * LIMIT // 20)
    with pytest.raises((BodyTooLarge, BadBody)):
        decode(["gzip", "gzip"], [gzip.compress(empty_members)])


def test_the_number_of_members_is_bounded() -> None:
    empty = gzip.compress(b"")
    assert decode(["gzip"], [empty * MAX_MEMBERS]) == b""
    with pytest.raises(BadBody):
        decode(["gzip"], [empty * (MAX_MEMBERS + 1)])


def test_a_zstd_window_above_8_mib_is_refused() -> None:
    options = {zstd.CompressionParameter.window_log.value: 24}
    compressor = zstd.ZstdCompressor(options=options)
    frame = compressor.compress(b"abc") + compressor.flush()
    with pytest.raises(BadBody):
        decode(["zstd"], [frame])


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ([], []),
        ([""], []),
        (["identity"], []),
        (["GZIP"], ["gzip"]),
        (["gzip , deflate"], ["gzip", "deflate"]),
        (["gzip", "zstd,identity"], ["gzip", "zstd"]),
        ([" x-gzip "], ["x-gzip"]),
    ],
)
def test_the_header_names_codings_in_their_order(headers: Sequence[str], named: Sequence[str]) -> None:
    assert parse_content_encoding(headers) == named


@pytest.mark.parametrize("header", ["br", "gzip;q=1", "gzip br", "gzip,gzip,gzip,gzip", "compress"])
def test_an_unknown_coding_is_refused_with_those_that_are_known(header: str) -> None:
    with pytest.raises(UnsupportedMedia) as refused:
        parse_content_encoding([header])
    assert refused.value.headers == {"Accept-Encoding": "gzip, deflate, zstd"}
    assert refused.value.code == "content_encoding_unsupported"
