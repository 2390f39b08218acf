"""Decoder: the bytes of one body, decoded through one content coding or a chain of them (RFC 9110 §8.4).

The calling order:
1. `feed(data)` lends input, which must stay as it is until `pending` is 0.
2. `read_into(out)` until `needs_input` is true; then feed more. A 0 without `needs_input` only says that the call did
   its share of work: call again.
3. After the last of the body, and when `needs_input` is true: `finish()`, which tells a whole body from a cut one.
`reset()` makes it ready for the next body with the same codings.

A chain is decoded in steps, each of one coding. What a step yields is lent, without a copy, to the next coding, and a
coding takes no step before those behind it have used up what it yielded: each holds one step's output at most.

Bounds: what is delivered in total (`max_bytes`); what any coding of the chain has yielded for each byte from the wire
(`max_ratio`), so that a chain whose result is small cannot do large work either; the steps of one call.

A failure is raised when all that was decoded before it has been delivered. A decoder that failed, or whose `read_into`
was left by another exception (an interrupt, want of memory), has lost its place: only reset() and close() are left.

Invariants: `0 <= start <= end` for each stage; `_at <= len(_chunk)`; the part of `_chunk` from `_at` on is decoded,
inside the bounds, and not delivered; `needs_input` implies that every stage is without input and every coding hungry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from turbosock.errors import BodyTooLarge, DecodingError, Origin, StateError, TurbosockError
from turbosock.limits import DECODE_INPUT_BYTES, DECODE_RATIO_FREE_BYTES, MAX_DECODE_STEPS
from turbosock.protocol.content.coding import Coding

_NOTHING: Final = memoryview(b"")
_CLOSED: Final = "is closed"


class _Stage:
    """One coding of the chain with the input that it was lent."""

    __slots__ = ("coding", "end", "produced", "start", "view")

    def __init__(self, coding: Coding) -> None:
        self.coding = coding
        self.clear()

    def clear(self) -> None:
        self.view = _NOTHING
        self.start = 0
        self.end = 0
        self.produced = 0

    def lend(self, view: memoryview) -> None:
        """Take `view` as the next input; the one before is used up."""
        self.view = view
        self.start = 0
        self.end = len(view)

    def take_back(self) -> None:
        """Let go of the input."""
        if self.view is not _NOTHING:
            self.view.release()
            self.lend(_NOTHING)

    def step(self) -> bytes:
        """Let the coding take one step."""
        start = self.start
        coding = self.coding
        before = coding.offset
        piece = self.view[start : min(start + DECODE_INPUT_BYTES, self.end)]
        try:
            data = coding.decode(piece)
        finally:
            # The frames of an error's traceback may live long; the caller's memory must not depend on them.
            piece.release()
        self.start = start = start + coding.offset - before
        if start == self.end:
            self.take_back()
        self.produced += len(data)
        return data


class Decoder:
    """Decodes one body after another; belongs to one thread at a time.

    Args:
        codings: in the order in which they are undone: the last one that was applied comes first.
        max_bytes: what one body may decode to.
        max_ratio: what it may decode to for each byte of input, above DECODE_RATIO_FREE_BYTES.

    Attributes:
        needs_input: whether all input is used up and all that it decodes to was delivered.
    """

    __slots__ = (
        "_at",
        "_chunk",
        "_failure",
        "_max_bytes",
        "_max_ratio",
        "_refusal",
        "_stages",
        "_total",
        "needs_input",
    )

    def __init__(self, codings: Sequence[Coding], *, max_bytes: int, max_ratio: float) -> None:
        assert codings, "a body without codings needs no decoder"
        self._stages = [_Stage(coding) for coding in codings]
        self._max_bytes = max_bytes
        self._max_ratio = max_ratio
        self._begin()

    def _begin(self) -> None:
        self._chunk = b""
        self._at = 0
        self._total = 0
        self.needs_input = True
        self._failure: TurbosockError | None = None
        # Why nothing can be done with the decoder, or "".
        self._refusal = ""

    def __repr__(self) -> str:
        names = ", ".join(stage.coding.name for stage in self._stages)
        return f"<Decoder {names} offset={self.offset} produced={self.produced}>"

    @property
    def codings(self) -> tuple[str, ...]:
        """The names of the codings in the order in which they are undone."""
        return tuple(stage.coding.name for stage in self._stages)

    @property
    def offset(self) -> int:
        """Bytes of input that are used up."""
        return self._stages[0].coding.offset

    @property
    def produced(self) -> int:
        """Decoded bytes that were delivered."""
        return self._total - (len(self._chunk) - self._at)

    @property
    def pending(self) -> int:
        """Bytes of the lent input that are not used up."""
        stage = self._stages[0]
        return stage.end - stage.start

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Lend input, a buffer of bytes; it must not change until `pending` is 0.

        Raises:
            StateError: what was fed before is not used up, or the decoder failed or is closed.
        """
        if self._refusal:
            self._refuse()
        stage = self._stages[0]
        if stage.start != stage.end:
            raise StateError(f"{self.pending} bytes fed to the decoder before are not used up: read first")
        if len(data):
            stage.lend(memoryview(data))
            self.needs_input = False

    # Longer than most: each call below it would be one for every 32 KiB of every body.
    def read_into(self, out: memoryview) -> int:
        """Decode into `out`, a writable view of bytes.

        Returns:
            How many bytes were written, `len(out)` at most. 0: nothing yet; see `needs_input`.

        Raises:
            DecodingError: a coding failed (code "decoding"), or expands too far ("bomb").
            BodyTooLarge: the body decodes to more than max_bytes; max_bytes of it were delivered.
            StateError: the decoder failed before, or is closed.
        """
        if self._refusal:
            self._refuse()
        self._refusal = "was interrupted in a read and has lost its place"
        stages = self._stages
        last = index = len(stages) - 1
        steps = MAX_DECODE_STEPS
        chunk = self._chunk
        at = self._at
        room = len(out)
        done = 0
        try:
            while done < room:
                count = len(chunk) - at
                if count:
                    if at or count > room - done:
                        count = min(count, room - done)
                        out[done : done + count] = memoryview(chunk)[at : at + count]
                    else:
                        out[done : done + count] = chunk
                    done += count
                    at += count
                    continue
                if self._failure is not None:
                    break
                stage = stages[index]
                if stage.start == stage.end and stage.coding.hungry:
                    if not index:
                        self.needs_input = True
                        break
                    index -= 1
                    continue
                if not steps:
                    break
                steps -= 1
                data = stage.step()
                if not data:
                    continue
                if stage.produced > DECODE_RATIO_FREE_BYTES:
                    self._check_ratio(stage)
                if index < last:
                    index += 1
                    stages[index].lend(memoryview(data))
                else:
                    chunk = self._within_bound(data)
                    at = 0
        except DecodingError as error:
            self._failure = self._located(error, stages[index])
        if not done and at == len(chunk) and self._failure is not None:
            self._fail()
        if at == len(chunk):
            chunk = b""
            at = 0
        self._chunk = chunk
        self._at = at
        self._refusal = ""
        return done

    def finish(self) -> None:
        """Tell that the body has no more bytes.

        Raises:
            DecodingError: code "truncated": a coding is not at its end.
            StateError: there is still something to read, or the decoder failed or is closed.
        """
        if self._refusal:
            self._refuse()
        if not self.needs_input:
            raise StateError("the decoder still has something to read: call read_into() until `needs_input`")
        for stage in self._stages:
            if not stage.coding.complete:
                error = DecodingError("the body ends before its coding does: it was cut short", code="truncated")
                self._failure = self._located(error, stage)
                self._fail()

    def reset(self) -> None:
        """Forget the present body and be ready for the next one.

        Raises:
            StateError: the decoder is closed.
        """
        if self._refusal is _CLOSED:
            self._refuse()
        self._drop()
        self._begin()

    def close(self) -> None:
        """Let go of everything; a second call does nothing."""
        self._drop()
        self._chunk = b""
        self._at = 0
        self._failure = None
        self.needs_input = False
        self._refusal = _CLOSED

    def _drop(self) -> None:
        for stage in self._stages:
            stage.take_back()
            stage.clear()
            stage.coding.reset()

    def _refuse(self) -> None:
        raise StateError(f"the decoder {self._refusal}")

    def _fail(self) -> None:
        """Raise the failure, and keep neither it nor, with its frames, the caller's memory."""
        failure = self._failure
        assert failure is not None, "there is one to raise"
        self._failure = None
        self._refusal = "failed: reset() it for another body"
        self._chunk = b""
        self._at = 0
        for stage in self._stages:
            stage.take_back()
        raise failure

    def _within_bound(self, data: bytes) -> bytes:
        """`data` as far as `max_bytes` allows; notes the failure where it ends."""
        total = self._total + len(data)
        excess = total - self._max_bytes
        if excess > 0:
            self._failure = BodyTooLarge(
                f"the body decodes to more than max_bytes={self._max_bytes}: stream it, or raise the bound"
            )
            data = data[:-excess]
            total -= excess
        self._total = total
        return data

    def _check_ratio(self, stage: _Stage) -> None:
        """Refuse what `stage` just yielded if the chain up to it expands too far."""
        # A library may have used up its piece without telling yet: it counts as taken.
        taken = self.offset + min(self.pending, DECODE_INPUT_BYTES)
        if stage.produced > self._max_ratio * taken:
            raise DecodingError(
                f"{taken} bytes expand to {stage.produced} and more, over max_ratio={self._max_ratio:g}: a bomb, or "
                "data for which the bound must be raised",
                code="bomb",
                origin=Origin.LIMIT,
            )

    def _located(self, error: DecodingError, stage: _Stage) -> DecodingError:
        """`error` with its coding and place."""
        coding = stage.coding
        message = (
            f"the content coding {coding.name!r} failed at or after byte {coding.offset} of its input: {error.args[0]}"
        )
        return DecodingError(message, coding=coding.name, offset=coding.offset, code=error.code, origin=error.origin)
