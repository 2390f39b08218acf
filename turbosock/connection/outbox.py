"""Outbox: the frames of one connection that wait for its socket, in order, bounded.

A frame is one whole message as it goes on the wire, or, of a long message that is sent from where it lies, one of its
parts: bytes that may be shared by many connections, or a view of pooled memory, which returns to its pool when it has
left. A message with a key takes the place of an unsent one with the same key: its place in the order, too, so that it
cannot be put off for ever by its own successors. A frame that has begun to leave, or that a pending send holds
(`locked`), is not replaced.

Invariants: keys can be hashed, which `check_key` sees to before anything is put; no frame is empty; `unsent` is the
length of all of them; the one with the sequence number s is `frames[s - _first]`. Numbers begin
at 0 again when nothing waits.

All of that holds also where an interrupt, or want of memory, breaks a call off: a message is then in the outbox, or it
is not. An interrupt comes when a call has returned, so that the one which adds the frame is the last one: its bytes are
counted right before it, and taken back where there was no memory for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.errors import InvalidOption

if TYPE_CHECKING:
    from turbosock.buffers import PooledBuffer

Frame = bytes | memoryview


def check_key(key: object) -> None:
    """Refuse what cannot be the key of a message.

    Raises:
        InvalidOption: it cannot be hashed.
    """
    try:
        hash(key)
    except TypeError:
        raise InvalidOption(
            f"key: a {type(key).__name__} was given; give what a dict takes, a str or int say"
        ) from None


class Outbox:
    """Frames that wait; see the module.

    Attributes:
        frames: in order, ready for a gathering send.
        unsent: their bytes.
        locked: how many of the first ones must stay as they are.
        replaced: messages that took the place of another one, since the outbox was made.
    """

    __slots__ = ("_first", "_keys", "_leases", "frames", "locked", "replaced", "unsent")

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.unsent = 0
        self.locked = 0
        self.replaced = 0
        self._first = 0
        # By key, and by sequence number; made when first needed.
        self._keys: dict[object, int] | None = None
        self._leases: dict[int, PooledBuffer] | None = None

    def put(self, frame: Frame, lease: PooledBuffer | None = None) -> None:
        """Add a frame; `lease`, if any, is the memory that it lies in, and is released when it has left."""
        # Each sum, and each length, is another int: those are taken that are there.
        before = self.unsent
        size = lease.size if lease is not None and frame is lease.view else len(frame)
        unsent = before + size if before else size
        if lease is not None:
            sequence = self._first + len(self.frames)
            if self._leases is None:
                self._leases = {}
            self._leases[sequence] = lease
        self.unsent = unsent
        try:
            self.frames.append(frame)
        except MemoryError:
            self.unsent = before
            raise

    def put_parts(self, parts: tuple[Frame, ...], size: int) -> None:
        """Add a message of `size` bytes in several frames."""
        before = self.unsent
        self.unsent = before + size
        try:
            self.frames.extend(parts)
        except MemoryError:
            self.unsent = before
            raise

    def waiting(self, key: object) -> int:
        """The length of the frame that a message with this key would replace, or -1."""
        index = self._index(key)
        return -1 if index < 0 else len(self.frames[index])

    def put_keyed(self, key: object, frame: Frame, lease: PooledBuffer | None = None) -> None:
        """Add a frame, or replace the one with the same key."""
        index = self._index(key)
        if index >= 0:
            self._replace(index, frame, lease)
            return
        if self._keys is None:
            self._keys = {}
        elif len(self._keys) > 2 * limits.MAX_UNSENT_FRAMES:
            # Keys of frames that have left, while others always waited.
            self._keys = {key: sequence for key, sequence in self._keys.items() if sequence >= self._first}
        sequence = self._first + len(self.frames)
        self.put(frame, lease)
        # Behind that: a key must not stand for a frame that never came, whose number is the next one's.
        self._keys[key] = sequence

    def _replace(self, index: int, frame: Frame, lease: PooledBuffer | None) -> None:
        frames = self.frames
        unsent = self.unsent + len(frame) - len(frames[index])
        replaced = self.replaced + 1
        sequence = self._first + index
        old = self._leases.get(sequence) if self._leases else None
        if lease is not None:
            if self._leases is None:
                self._leases = {}
            self._leases[sequence] = lease
        elif old is not None:
            assert self._leases is not None, "the old one was there"
            del self._leases[sequence]
        frames[index] = frame
        self.unsent = unsent
        self.replaced = replaced
        if old is not None:
            old.release()

    def _index(self, key: object) -> int:
        """Where the frame is that a message with this key replaces, or -1."""
        if self._keys is None:
            return -1
        index = self._keys.get(key, -1) - self._first
        return index if index >= self.locked else -1

    def sent(self, count: int) -> None:
        """The first `count` bytes have left."""
        frames = self.frames
        left = self.unsent - count
        self.unsent = left
        self.locked = 0
        if not left:
            # Nobody counts on from here: an int that grows would be made anew for each message.
            self._first = 0
            frames.clear()
            if self._keys:
                self._keys.clear()
            leases = self._leases
            while leases:
                leases.popitem()[1].release()
        else:
            done = 0
            while count >= len(frames[done]):
                count -= len(frames[done])
                done += 1
            if count:
                frames[done] = memoryview(frames[done])[count:]
                self.locked = 1
            if done:
                del frames[:done]
                if self._leases:
                    for sequence in range(self._first, self._first + done):
                        lease = self._leases.pop(sequence, None)
                        if lease is not None:
                            lease.release()
                self._first += done

    def mark(self) -> int:
        """The place behind the last frame; for `has_left`. Never 0 where there is a frame."""
        return self._first + len(self.frames)

    def has_left(self, mark: int) -> bool:
        """Whether everything before that place has left."""
        return not self.frames or self._first >= mark

    def gather(self, memory: memoryview) -> int:
        """Copy as many whole frames as fit into `memory`, from the first one on; how many bytes that is."""
        room = len(memory)
        at = 0
        for frame in self.frames:
            stop = at + len(frame)
            if stop > room:
                break
            memory[at:stop] = frame
            at = stop
        return at

    def join(self, max_bytes: int) -> Frame:
        """The first frames, up to `max_bytes`, as one object, or the first one where it is longer. They are locked."""
        frames = self.frames
        size = len(frames[0])
        count = 1
        while count < len(frames) and size + len(frames[count]) <= max_bytes:
            size += len(frames[count])
            count += 1
        self.locked = count
        return frames[0] if count == 1 else b"".join(frames[:count])

    def clear(self) -> None:
        """Drop everything."""
        self.frames.clear()
        self.unsent = 0
        self.locked = 0
        self._keys = None
        leases = self._leases
        self._leases = None
        if leases is not None:
            for lease in leases.values():
                lease.release()
