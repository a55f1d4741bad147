from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.factories import part, stored_event

from quizstream.worker.batch import Batch, Gathered, count_rows, pack, split


def sized(sizes: Sequence[Sequence[int]]) -> Batch:
    parts = [part([stored_event()] * len(of_one), partition=number) for number, of_one in enumerate(sizes) if of_one]
    return [
        one._replace(
            entries=[
                replace(entry, value=b"x" * size)
                for entry, size in zip(one.entries, sizes[one.partition.partition], strict=True)
            ]
        )
        for one in parts
    ]


@given(st.lists(st.lists(st.integers(0, 50), max_size=12), max_size=4), st.integers(1, 10), st.integers(1, 100))
def test_packing_keeps_every_record_in_order_within_both_bounds(
    sizes: list[list[int]], rows: int, size_bytes: int
) -> None:
    batch = sized(sizes)
    packed = list(pack(batch, rows, size_bytes))
    positions = {one.partition: one.first_offset for one in batch}
    for each in packed:
        assert count_rows(each) <= rows
        total = sum(len(entry.value) for one in each for entry in one.entries)
        assert total <= size_bytes or count_rows(each) == 1
        for one in each:
            assert one.first_offset == positions[one.partition]
            positions[one.partition] = one.next_offset
    assert positions == {one.partition: one.next_offset for one in batch}


@given(st.lists(st.lists(st.integers(0, 5), max_size=12), max_size=4), st.integers(1, 10))
def test_splitting_keeps_every_record_in_order(sizes: list[list[int]], rows: int) -> None:
    batch = sized(sizes)
    pieces = [one for piece in split(batch, rows) for one in piece]
    assert all(len(piece.entries) <= rows for piece in pieces)
    for one in batch:
        mine = [piece for piece in pieces if piece.partition == one.partition]
        assert [entry for piece in mine for entry in piece.entries] == list(one.entries)
        assert [piece.first_offset for piece in mine][1:] == [piece.next_offset for piece in mine][:-1]


def test_what_was_gathered_of_a_partition_can_be_let_go() -> None:
    first, second = part([stored_event()] * 3), part([stored_event()] * 2, partition=1, first_offset=7)
    gathered = Gathered()
    for one in (second, first):
        gathered.add(one.partition, one.first_offset, one.entries[:1])
        gathered.add(one.partition, one.first_offset + 1, one.entries[1:])
    assert gathered.batch() == [first, second]
    gathered.drop(first.partition)
    assert gathered.batch() == [second]
    assert (gathered.rows, gathered.size_bytes) == (2, sum(len(entry.value) for entry in second.entries))
