"""RingBuffer: each face, at every place where the content may wrap."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from turbosock.buffers import ring as ring_module
from turbosock.buffers.ring import RingBuffer
from turbosock.errors import InvalidOption, StateError


def ring_with(content: bytes, capacity: int, start: int) -> RingBuffer:
    """Return a ring whose content begins at `start` of its storage, wrapping where it must."""
    ring = RingBuffer(capacity)
    ring.root[:] = b"." * capacity
    for index, byte in enumerate(content):
        ring.storage[(start + index) % capacity] = byte
    ring.start = start if content else 0
    ring.length = len(content)
    return ring


def every_ring(capacity: int) -> Iterator[tuple[RingBuffer, bytes]]:
    """Yield rings of every start and length, with their content."""
    for start in range(capacity):
        for length in range(capacity + 1):
            content = bytes(range(65, 65 + length))
            yield ring_with(content, capacity, start), content


class RecordingSocket:
    """Takes and gives up to `limit` bytes a call, and records which calls were made."""

    def __init__(self, incoming: bytes = b"", limit: int = 1 << 20) -> None:
        self.incoming = incoming
        self.outgoing = b""
        self.limit = limit
        self.calls: list[str] = []

    def _fill(self, buffers: Sequence[memoryview]) -> int:
        total = 0
        for buffer in buffers:
            n = min(len(buffer), len(self.incoming), self.limit - total)
            buffer[:n] = self.incoming[:n]
            self.incoming = self.incoming[n:]
            total += n
        return total

    def recv_into(self, buffer: memoryview, /) -> int:
        self.calls.append("recv_into")
        return self._fill([buffer])

    def recvmsg_into(self, buffers: Sequence[memoryview], /) -> tuple[int, Any, int, Any]:
        self.calls.append("recvmsg_into")
        return self._fill(buffers), [], 0, None

    def send(self, data: memoryview, /) -> int:
        self.calls.append("send")
        taken = bytes(data)[: self.limit]
        self.outgoing += taken
        return len(taken)

    def sendmsg(self, buffers: Sequence[memoryview], /) -> int:
        self.calls.append("sendmsg")
        taken = b"".join(buffers)[: self.limit]
        self.outgoing += taken
        return len(taken)


class BlockedSocket(RecordingSocket):
    """Has nothing to give and no room to take."""

    def recv_into(self, buffer: memoryview, /) -> int:
        raise BlockingIOError

    def send(self, data: memoryview, /) -> int:
        raise BlockingIOError


def test_ring_new_is_empty_with_its_whole_storage_writable() -> None:
    ring = RingBuffer(8)
    assert (ring.start, ring.length, ring.capacity) == (0, 0, 8)
    assert ring.writable() is ring.root
    assert len(ring.readable()) == 0
    assert ring.contiguous


def test_ring_given_storage_uses_it() -> None:
    storage = bytearray(4)
    ring = RingBuffer(4, storage)
    ring.write(b"abcd")
    assert storage == b"abcd"


@pytest.mark.parametrize("capacity", [0, -1, 1.5, "8", True, None])
def test_ring_wrong_capacity_is_refused_by_name(capacity: Any) -> None:
    with pytest.raises(InvalidOption, match="capacity"):
        RingBuffer(capacity)


@pytest.mark.parametrize("storage", [bytearray(7), bytes(8), memoryview(bytearray(8))])
def test_ring_wrong_storage_is_refused_by_name(storage: Any) -> None:
    with pytest.raises(InvalidOption, match="storage"):
        RingBuffer(8, storage)


def test_ring_whole_content_at_front_lends_the_cached_view() -> None:
    ring = RingBuffer(4)
    ring.write(b"abcd")
    assert ring.readable() is ring.root


def test_ring_emptied_resets_to_the_front_and_lends_the_cached_view() -> None:
    ring = RingBuffer(8)
    ring.write(b"abc")
    ring.consume(2)
    assert ring.start == 2
    ring.consume(1)
    assert ring.start == 0
    assert ring.writable() is ring.root


def test_ring_storage_cannot_be_resized() -> None:
    ring = RingBuffer(8)
    with pytest.raises(BufferError):
        ring.storage.append(0)


def test_ring_every_state_shows_its_content_on_every_face() -> None:
    for ring, content in every_ring(7):
        assert b"".join(ring.readable_segments()) == content
        assert content.startswith(bytes(ring.readable()))
        assert ring.contiguous == (bytes(ring.readable()) == content)
        assert ring.peek(7) == content
        assert ring.peek(2) == content[:2]
        assert ring.peek(0) == b""
        assert len(ring) == len(content)
        assert sum(map(len, ring.writable_segments())) == 7 - len(content)
        assert all(len(view) for view in ring.writable_segments() + ring.readable_segments())
        if len(content) < 7:
            assert len(ring.writable()) > 0
            assert len(ring.writable()) == len(ring.writable_segments()[0])
        else:
            assert len(ring.writable()) == 0


def test_ring_every_state_writes_behind_its_content() -> None:
    for ring, content in every_ring(7):
        fits = 7 - len(content)
        assert ring.write(b"0123456789") == fits
        assert ring.peek(7) == content + b"0123456789"[:fits]


def test_ring_every_state_advances_over_what_was_written_to_writable() -> None:
    for ring, content in every_ring(7):
        view = ring.writable()
        n = len(view)
        view[:] = b"0123456"[:n]
        ring.advance(n)
        assert ring.peek(7) == content + b"0123456"[:n]


def test_ring_every_state_consumes_every_count() -> None:
    for start in range(5):
        for length in range(6):
            for n in range(length + 1):
                ring = ring_with(b"abcde"[:length], 5, start)
                ring.consume(n)
                assert ring.peek(5) == b"abcde"[n:length]
                assert 0 <= ring.start < ring.capacity
                assert ring.length or not ring.start


@pytest.mark.parametrize("block", [1, 2, 3, 5, 64])
def test_ring_every_state_is_made_contiguous_in_place(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "ROTATION_BLOCK_BYTES", block)
    for capacity in (1, 2, 7, 13):
        for ring, content in every_ring(capacity):
            storage = ring.storage
            ring.make_contiguous()
            assert ring.start == 0
            assert ring.storage is storage
            assert ring.contiguous
            assert bytes(ring.readable()) == content


def test_ring_every_state_finds_what_bytes_finds() -> None:
    needles = (b"a", b"b", b"ab", b"ba", b"aab", b"bb", b"abab", b"c", b"")
    for content in (b"", b"abababa", b"aabab", b"bbaaba", b"aaaaaab"):
        for start in range(7):
            ring = ring_with(content, 7, start)
            for needle in needles:
                for first in range(9):
                    assert ring.find(needle, first) == content.find(needle, first), (content, start, needle, first)


def test_ring_find_sees_only_the_content() -> None:
    ring = RingBuffer(8)
    ring.write(b"abcdef")
    assert ring.find(b"a") == 0
    ring.consume(4)
    assert ring.find(b"a") == -1
    assert ring.find(b"fg") == -1


@pytest.mark.parametrize("n", [-1, 6])
def test_ring_advance_beyond_free_memory_is_refused_without_effect(n: int) -> None:
    ring = ring_with(b"abc", 8, 6)
    with pytest.raises(StateError, match="5 bytes free"):
        ring.advance(n)
    assert ring.peek(8) == b"abc"


@pytest.mark.parametrize("n", [-1, 4])
def test_ring_consume_beyond_content_is_refused_without_effect(n: int) -> None:
    ring = ring_with(b"abc", 8, 6)
    with pytest.raises(StateError, match="holds 3 bytes"):
        ring.consume(n)
    assert ring.peek(8) == b"abc"


def test_ring_negative_positions_are_refused() -> None:
    ring = RingBuffer(8)
    with pytest.raises(StateError):
        ring.peek(-1)
    with pytest.raises(StateError):
        ring.find(b"a", -1)


def test_ring_every_state_receives_with_one_call_into_all_free_memory() -> None:
    for ring, content in every_ring(7):
        sock = RecordingSocket(b"0123456789")
        if len(content) == 7:
            with pytest.raises(StateError, match="full"):
                ring.receive_from(sock)
            continue
        two = len(ring.writable_segments()) == 2
        assert ring.receive_from(sock) == 7 - len(content)
        assert ring.peek(7) == content + b"0123456789"[: 7 - len(content)]
        assert sock.calls == ["recvmsg_into" if two else "recv_into"]


def test_ring_every_state_sends_all_content_with_one_call() -> None:
    for ring, content in every_ring(7):
        sock = RecordingSocket()
        two = len(ring.readable_segments()) == 2
        assert ring.send_to(sock) == len(content)
        assert sock.outgoing == content
        assert sock.calls == ([] if not content else ["sendmsg" if two else "send"])
        assert (ring.start, ring.length) == (0, 0)


def test_ring_partial_send_keeps_the_rest() -> None:
    for limit in range(1, 6):
        ring = ring_with(b"abcdef", 7, 4)
        sock = RecordingSocket(limit=limit)
        while ring.length:
            ring.send_to(sock)
        assert sock.outgoing == b"abcdef"


def test_ring_receive_at_end_of_stream_returns_zero_and_changes_nothing() -> None:
    ring = ring_with(b"abc", 8, 6)
    assert ring.receive_from(RecordingSocket(b"")) == 0
    assert ring.peek(8) == b"abc"


def test_ring_blocked_socket_leaves_the_ring_unchanged() -> None:
    ring = RingBuffer(8)
    ring.write(b"abc")
    with pytest.raises(BlockingIOError):
        ring.receive_from(BlockedSocket())
    with pytest.raises(BlockingIOError):
        ring.send_to(BlockedSocket())
    assert ring.peek(8) == b"abc"


def test_ring_over_a_real_socket_pair_carries_wrapped_content() -> None:
    one, other = socket.socketpair()
    with one, other:
        source = ring_with(b"abcdef", 7, 4)
        target = ring_with(b"xy", 9, 5)
        assert source.send_to(one) == 6
        assert target.receive_from(other) == 6
        assert target.peek(9) == b"xyabcdef"


def test_ring_write_takes_any_bytes_like_and_counts_bytes() -> None:
    ring = RingBuffer(8)
    assert ring.write(memoryview(b"abcd").cast("H")) == 4
    assert ring.write(bytearray(b"ef")) == 2
    assert ring.peek(8) == b"abcdef"


def test_ring_cleared_is_empty_and_poisoned_shows_it() -> None:
    ring = ring_with(b"abc", 8, 6)
    view = ring.readable()
    ring.clear()
    assert (ring.start, ring.length) == (0, 0)
    assert bytes(view) == b"ab"
    ring.poison()
    assert bytes(view) == b"\xdb\xdb"
    assert ring.storage == b"\xdb" * 8
    assert ring.length == 0
