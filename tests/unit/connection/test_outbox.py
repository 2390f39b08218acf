"""Outbox: order, keys, partial sends, leases; against a naive model under random operations."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest

from support.seeds import seeds
from turbosock.buffers import BufferPool
from turbosock.connection.outbox import Frame, Outbox


def content(outbox: Outbox) -> bytes:
    return b"".join(outbox.frames)


def test_frames_leave_in_order_and_in_parts() -> None:
    outbox = Outbox()
    for frame in (b"abc", b"defg", b"h"):
        outbox.put(frame)
    assert outbox.unsent == 8
    outbox.sent(5)
    assert content(outbox) == b"fgh" and outbox.unsent == 3 and outbox.locked == 1
    outbox.sent(3)
    assert outbox.frames == [] and outbox.unsent == 0 and outbox.locked == 0


def test_key_replaces_in_the_place_of_the_old_one() -> None:
    outbox = Outbox()
    outbox.put_keyed("a", b"old a")
    outbox.put(b"chat")
    outbox.put_keyed("b", b"old b")
    assert outbox.waiting("a") == 5 and outbox.waiting("c") == -1
    outbox.put_keyed("a", b"new")
    outbox.put_keyed("b", b"newer b")
    assert outbox.frames == [b"new", b"chat", b"newer b"]
    assert outbox.unsent == 14 and outbox.replaced == 2


def test_frame_that_has_begun_to_leave_is_not_replaced() -> None:
    outbox = Outbox()
    outbox.put_keyed("a", b"first")
    outbox.sent(2)
    outbox.put_keyed("a", b"second")
    outbox.put_keyed("a", b"third")
    assert content(outbox) == b"rstthird"


def test_frames_that_a_send_holds_are_not_replaced() -> None:
    outbox = Outbox()
    outbox.put_keyed("a", b"one")
    outbox.put_keyed("b", b"two")
    assert outbox.join(100) == b"onetwo"
    outbox.put_keyed("b", b"three")
    assert content(outbox) == b"onetwothree"


def test_keys_of_frames_that_left_are_free() -> None:
    outbox = Outbox()
    outbox.put_keyed("a", b"one")
    outbox.sent(3)
    outbox.put_keyed("a", b"two")
    assert outbox.frames == [b"two"] and outbox.replaced == 0


def test_mark_is_passed_when_what_stood_before_it_has_left() -> None:
    outbox = Outbox()
    for frame in (b"ab", b"cde"):
        outbox.put(frame)
    mark = outbox.mark()
    outbox.put(b"behind")
    outbox.sent(4)
    assert not outbox.has_left(mark)
    outbox.sent(1)
    assert outbox.has_left(mark)
    outbox.sent(6)
    assert outbox.has_left(mark) and not outbox.has_left(_marked(outbox))


def _marked(outbox: Outbox) -> int:
    outbox.put(b"anew")
    return outbox.mark()


def test_keys_without_end_are_forgotten() -> None:
    outbox = Outbox()
    outbox.put(b"always something")
    for number in range(30_000):
        outbox.put_keyed(number, b"x")
        outbox.sent(1)
    assert outbox._keys is not None and len(outbox._keys) <= 8193


def test_gather_takes_whole_frames_that_fit() -> None:
    outbox = Outbox()
    for frame in (b"ab", b"cde", b"fghi"):
        outbox.put(frame)
    memory = memoryview(bytearray(8))
    assert outbox.gather(memory) == 5 and bytes(memory[:5]) == b"abcde"
    assert outbox.gather(memoryview(bytearray(1))) == 0


def test_join_takes_the_first_alone_where_it_is_longer() -> None:
    outbox = Outbox()
    outbox.put(b"x" * 20)
    outbox.put(b"y")
    assert outbox.join(10) == b"x" * 20 and outbox.locked == 1


@pytest.mark.parametrize("end", ["sent", "clear", "replaced"])
def test_lease_returns_when_its_frame_is_over(end: str) -> None:
    pool = BufferPool(diagnostics=True)
    outbox = Outbox()
    for number in range(2):
        lease = pool.rent(1024)
        outbox.put_keyed(number, lease.view[:10], lease)
        del lease
    assert pool.stats().outstanding == 2
    if end == "sent":
        outbox.sent(15)
        assert pool.stats().outstanding == 1
        outbox.sent(5)
    elif end == "clear":
        outbox.clear()
    else:
        outbox.put_keyed(0, b"x")
        outbox.put_keyed(1, b"y")
        assert content(outbox) == b"xy"
    assert pool.stats().outstanding == 0 and pool.leaks == ()


@pytest.mark.parametrize("seed", seeds(20))
def test_outbox_agrees_with_a_list_under_random_operations(seed: int) -> None:
    rng = random.Random(seed)
    outbox = Outbox()
    # Frames as [key, bytes]; `locked` of the first ones are not replaced.
    model: list[tuple[object, bytes]] = []
    locked = 0
    for step in range(2000):
        choice = rng.randrange(6)
        frame = bytes((step & 255,)) * rng.randrange(1, 6)
        if choice == 0:
            outbox.put(frame)
            model.append((None, frame))
        elif choice <= 2:
            key = rng.randrange(5)
            outbox.put_keyed(key, frame)
            last = max((i for i, (other, _) in enumerate(model) if other == key), default=-1)
            if last >= locked:
                model[last] = (key, frame)
            else:
                model.append((key, frame))
        elif choice == 3 and outbox.unsent:
            count = rng.randrange(1, outbox.unsent + 1)
            outbox.sent(count)
            while count and count >= len(model[0][1]):
                count -= len(model.pop(0)[1])
            if count:
                model[0] = (model[0][0], model[0][1][count:])
            locked = 1 if count else 0
        elif choice == 4 and outbox.frames:
            size = rng.randrange(12)
            joined = outbox.join(size)
            locked = outbox.locked
            assert joined == b"".join(data for _, data in model[:locked]) or not joined
        assert content(outbox) == b"".join(data for _, data in model)
        assert outbox.unsent == len(content(outbox))


class Full(list[Frame]):
    """A list for which there is no memory to grow in."""

    def append(self, frame: Frame) -> None:
        raise MemoryError

    def extend(self, frames: Iterable[Frame]) -> None:
        raise MemoryError


def test_frame_for_which_there_is_no_memory_is_not_counted() -> None:
    pool = BufferPool()
    outbox = Outbox()
    outbox.put(b"abc")
    outbox.frames = Full(outbox.frames)
    lease = pool.rent(10)
    puts: list[Callable[[], None]] = [
        lambda: outbox.put(b"d"),
        lambda: outbox.put_parts((b"d", b"e"), 2),
        lambda: outbox.put_keyed("k", b"d"),
        lambda: outbox.put(lease.view, lease),
    ]
    for put in puts:
        with pytest.raises(MemoryError):
            put()
        assert outbox.unsent == 3 and outbox.waiting("k") == -1
    outbox.frames = list(outbox.frames)
    # Nothing of what is not there is replaced, or sent.
    outbox.put(b"chat")
    outbox.put_keyed("k", b"new")
    assert content(outbox) == b"abcchatnew"
    outbox.sent(10)
    assert pool.stats().outstanding == 0


def test_message_in_parts_leaves_in_order() -> None:
    outbox = Outbox()
    outbox.put_parts((b"head", b"body", b"tail"), 12)
    assert outbox.unsent == 12 and content(outbox) == b"headbodytail"
    outbox.sent(6)
    assert content(outbox) == b"dytail" and outbox.unsent == 6
