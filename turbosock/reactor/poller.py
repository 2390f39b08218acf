"""Readiness of descriptors: epoll where there is one, poll and `selectors` elsewhere, behind one interface.

`wait` returns what epoll itself returns, a list of `(fd, mask)`, so that nothing is allocated beyond what the system
interface makes. All pollers are level-triggered: a socket that was not emptied shows again.

Masks follow poll(2), whose bits epoll shares: compare with READABLE and WRITABLE only. An error or a hang-up counts as
both, because the next step on the socket is what finds out which error it is.

Readiness is a hint. A list may hold a descriptor that an earlier step of the same turn unregistered (skip what
`tokens` does not know) or whose number was taken over by a new socket (the step then finds nothing to do).

Invariants:

- A descriptor without interest in either direction is never reported, not even for a hang-up: a connection held back
  by back-pressure must not make the loop spin. It costs nothing in the kernel and keeps its token.
- A wait never returns before its timeout because of rounding, and never lasts longer than MAX_POLL_WAIT_S.
- Unregister before closing. A descriptor that was closed first is forgotten without complaint.
- A mask that is kept holds what is watched at least, and an interrupt of `unregister` finds it done: a number that
  stayed behind in a set would be reported for ever once it is closed, and select() would refuse them all.

An epoll set is shared across `fork()`: the child closes its poller, and never unregisters from the inherited one, which
would take the parent's sockets out of it. One thread at a time uses a poller.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import sys
from collections.abc import Callable, Collection
from typing import Any, Final, Protocol

from turbosock.errors import InvalidOption, LimitError
from turbosock.limits import FEW_POLL_BATCH, MAX_POLL_WAIT_S, POLL_BATCH
from turbosock.reactor.clock import NS_PER_MS, NS_PER_S
from turbosock.reactor.sockets import local_error
from turbosock.reactor.waker import Waker

# Readable, or writable, and nothing else: for handlers that put themselves in line.
IN: Final = 1
OUT: Final = 4
_ERROR: Final = 8
_HANG_UP: Final = 16
_INVALID: Final = 32

# poll(2) fixes these numbers on every system that has it; epoll's are the same.
READABLE: Final = IN | _ERROR | _HANG_UP | _INVALID
WRITABLE: Final = OUT | _ERROR | _HANG_UP | _INVALID

POLLER_VARIABLE: Final = "TURBOSOCK_POLLER"

# `batch` of a poller whose wait reports everything that is ready: no list is ever that long.
_UNBOUNDED = sys.maxsize
# FD_SETSIZE: select() on a Unix system takes descriptors below it only.
_MAX_SELECT_FD = 1024
_MAX_POLL_WAIT_MS: Final = int(MAX_POLL_WAIT_S * 1000)

Ready = list[tuple[int, int]]


class Poller(Protocol):
    """A set of descriptors with interests.

    `tokens` maps every registered descriptor to what was registered with it; read it freely, change it only through
    the methods. `batch` is the most that the last `wait` could report: a list of that length may not be all, so wait
    again with timeout 0.
    """

    tokens: dict[int, Any]
    batch: int

    def register(self, fd: int, read: bool, write: bool, token: object) -> None:
        """Watch `fd`, which must not be registered yet."""
        ...

    def modify(self, fd: int, read: bool, write: bool) -> None:
        """Change the interests of `fd`; unchanged ones cost no system call."""
        ...

    def unregister(self, fd: int) -> None:
        """Stop watching `fd` and forget its token."""
        ...

    def wait(self, timeout_s: float) -> Ready:
        """Wait until something is ready or `timeout_s` seconds passed; return pairs of descriptor and mask."""
        ...

    def close(self) -> None:
        """Give the system's resources back; a second call does nothing."""
        ...


def _mask(read: bool, write: bool) -> int:
    return (IN if read else 0) | (OUT if write else 0)


if sys.platform == "linux":

    class EpollPoller:
        """Readiness by epoll: the list that `wait` returns is epoll's own."""

        __slots__ = ("_epoll", "_masks", "_next_batch", "batch", "tokens")

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self._masks: dict[int, int] = {}
            self.tokens: dict[int, Any] = {}
            self.batch = self._next_batch = FEW_POLL_BATCH

        def register(self, fd: int, read: bool, write: bool, token: object) -> None:
            """Watch `fd`, which must not be registered yet."""
            assert fd not in self.tokens, "registered twice"
            mask = _mask(read, write)
            try:
                self.tokens[fd] = token
                self._masks[fd] = mask
                if mask:
                    self._epoll.register(fd, mask)
            except BaseException:
                # Whoever asked closes the descriptor, which takes it out of the kernel's set, if it came so far.
                self.tokens.pop(fd, None)
                self._masks.pop(fd, None)
                raise

        def modify(self, fd: int, read: bool, write: bool) -> None:
            """Change the interests of `fd`; unchanged ones cost no system call."""
            mask = (IN if read else 0) | (OUT if write else 0)
            old = self._masks[fd]
            if mask == old:
                return
            self._masks[fd] = old | mask
            if not old:
                self._epoll.register(fd, mask)
            elif mask:
                self._epoll.modify(fd, mask)
            else:
                # epoll reports errors and hang-ups even for an empty mask.
                self._epoll.unregister(fd)
            self._masks[fd] = mask

        def unregister(self, fd: int) -> None:
            """Stop watching `fd` and forget its token."""
            mask = self._masks[fd]
            del self.tokens[fd]
            del self._masks[fd]
            if mask:
                try:
                    self._epoll.unregister(fd)
                except OSError:
                    # Closed before, when the kernel took it out of the set; or about to be closed, when it will.
                    pass

        def wait(self, timeout_s: float) -> Ready:
            """Wait until something is ready or `timeout_s` seconds passed; CPython rounds up to milliseconds."""
            self.batch = batch = self._next_batch
            if timeout_s <= 0:
                ready = self._epoll.poll(0, batch)
            else:
                ready = self._epoll.poll(timeout_s if timeout_s < MAX_POLL_WAIT_S else MAX_POLL_WAIT_S, batch)
            self._next_batch = FEW_POLL_BATCH if len(ready) < FEW_POLL_BATCH else POLL_BATCH
            return ready

        def close(self) -> None:
            """Close the epoll descriptor; a second call does nothing."""
            self._epoll.close()
            self._masks.clear()
            self.tokens.clear()


if sys.platform != "win32":

    class PollPoller:
        """Readiness by poll(2): nothing in the kernel to keep in step, every wait passes the whole set."""

        __slots__ = ("_masks", "_poll", "batch", "tokens")

        def __init__(self) -> None:
            self._poll = select.poll()
            self._masks: dict[int, int] = {}
            self.tokens: dict[int, Any] = {}
            self.batch = _UNBOUNDED

        def register(self, fd: int, read: bool, write: bool, token: object) -> None:
            """Watch `fd`, which must not be registered yet."""
            assert fd not in self.tokens, "registered twice"
            mask = _mask(read, write)
            try:
                self.tokens[fd] = token
                self._masks[fd] = mask
                if mask:
                    self._poll.register(fd, mask)
            except BaseException:
                self.tokens.pop(fd, None)
                if self._masks.pop(fd, 0):
                    with contextlib.suppress(KeyError):
                        self._poll.unregister(fd)
                raise

        def modify(self, fd: int, read: bool, write: bool) -> None:
            """Change the interests of `fd`; there is no system call in it."""
            mask = _mask(read, write)
            old = self._masks[fd]
            if mask == old:
                return
            self._masks[fd] = old | mask
            if mask:
                self._poll.register(fd, mask)
            else:
                self._poll.unregister(fd)
            self._masks[fd] = mask

        def unregister(self, fd: int) -> None:
            """Stop watching `fd` and forget its token."""
            mask = self._masks[fd]
            del self.tokens[fd]
            del self._masks[fd]
            if mask:
                try:
                    self._poll.unregister(fd)
                except KeyError:
                    # An interrupt broke off what was to put it there.
                    pass

        def wait(self, timeout_s: float) -> Ready:
            """Wait until something is ready or `timeout_s` seconds passed; CPython rounds up to milliseconds."""
            if timeout_s <= 0:
                return self._poll.poll(0)
            return self._poll.poll(min(timeout_s, MAX_POLL_WAIT_S) * 1000)

        def close(self) -> None:
            """Forget every descriptor; a second call does nothing."""
            self._poll = select.poll()
            self._masks.clear()
            self.tokens.clear()


class SelectorPoller:
    """Readiness by any selector of the standard library, for every platform.

    Args:
        selector: the selector to own; None takes the platform's best.
    """

    __slots__ = ("_masks", "_max_fd", "_selector", "batch", "tokens")

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        self._selector = selectors.DefaultSelector() if selector is None else selector
        bounded = sys.platform != "win32" and isinstance(self._selector, selectors.SelectSelector)
        self._max_fd = _MAX_SELECT_FD if bounded else _UNBOUNDED
        self._masks: dict[int, int] = {}
        self.tokens: dict[int, Any] = {}
        self.batch = _UNBOUNDED

    def register(self, fd: int, read: bool, write: bool, token: object) -> None:
        """Watch `fd`, which must not be registered yet.

        Raises:
            LimitError: the descriptor's number is beyond what select() takes.
        """
        assert fd not in self.tokens, "registered twice"
        if fd >= self._max_fd:
            raise LimitError(
                f"descriptor {fd} cannot be watched: select() takes numbers below {self._max_fd}; "
                f"set {POLLER_VARIABLE} to poll or epoll, or keep fewer files open"
            )
        mask = _mask(read, write)
        try:
            self.tokens[fd] = token
            self._masks[fd] = mask
            if mask:
                self._selector.register(fd, _selector_events(mask))
        except BaseException:
            self.tokens.pop(fd, None)
            if self._masks.pop(fd, 0):
                with contextlib.suppress(KeyError):
                    self._selector.unregister(fd)
            raise

    def modify(self, fd: int, read: bool, write: bool) -> None:
        """Change the interests of `fd`; unchanged ones cost no system call."""
        mask = _mask(read, write)
        old = self._masks[fd]
        if mask == old:
            return
        self._masks[fd] = old | mask
        if not old:
            self._selector.register(fd, _selector_events(mask))
        elif mask:
            self._selector.modify(fd, _selector_events(mask))
        else:
            self._selector.unregister(fd)
        self._masks[fd] = mask

    def unregister(self, fd: int) -> None:
        """Stop watching `fd` and forget its token."""
        mask = self._masks[fd]
        del self.tokens[fd]
        del self._masks[fd]
        if mask:
            try:
                self._selector.unregister(fd)
            except KeyError:
                # As PollPoller's.
                pass

    def wait(self, timeout_s: float) -> Ready:
        """Wait until something is ready or `timeout_s` seconds passed; the selectors round up."""
        ready = self._selector.select(min(timeout_s, MAX_POLL_WAIT_S) if timeout_s > 0 else 0)
        # EVENT_READ is 1, as POLLIN; EVENT_WRITE is 2, POLLOUT is 4.
        return [(key.fd, (events & 1) | (events & 2) << 1) for key, events in ready]

    def close(self) -> None:
        """Close the selector; a second call does nothing."""
        self._selector.close()
        self._masks.clear()
        self.tokens.clear()


def _selector_events(mask: int) -> int:
    return (mask & IN) | (mask & OUT) >> 1


def _make_select_poller() -> Poller:
    return SelectorPoller(selectors.SelectSelector())


# In order of preference.
_MAKERS: dict[str, Callable[[], Poller]] = {}
if sys.platform == "linux":
    _MAKERS["epoll"] = EpollPoller
if sys.platform != "win32":
    _MAKERS["poll"] = PollPoller
_MAKERS["select"] = _make_select_poller


def available_pollers() -> tuple[str, ...]:
    """Return the kinds that `make_poller` knows on this platform, the preferred one first."""
    return tuple(_MAKERS)


def make_poller(kind: str | None = None) -> Poller:
    """Return a new poller.

    Args:
        kind: "epoll", "poll" or "select"; None takes the environment variable TURBOSOCK_POLLER and, where that is
            unset or empty, epoll or else the best that `selectors` offers.

    Raises:
        InvalidOption: the kind is unknown, or this platform lacks it.
    """
    origin = "kind"
    if kind is None:
        origin = POLLER_VARIABLE
        kind = os.environ.get(POLLER_VARIABLE)
        if not kind:
            return _MAKERS.get("epoll", SelectorPoller)()
    maker = _MAKERS.get(kind)
    if maker is None:
        raise InvalidOption(f"{origin} is {kind!r}: this platform has {', '.join(_MAKERS)}")
    return maker()


class SingleWaiter:
    """Waits for one descriptor at a time, for a blocking call on a non-blocking socket.

    The poll object is made once and lives as long as its transport; changing the direction is no system call. A
    `wait` with timeout 0 asks whether an idle connection has spoken or closed, and raises nothing when it has not.
    One thread at a time uses it. It holds nothing in the kernel: no `close()`, and nothing to do after `fork()`.

    Args:
        fd: the descriptor; the owner forgets the waiter when it closes the descriptor.
    """

    __slots__ = ("_fd", "_poll", "_write")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._write = False
        if sys.platform != "win32":
            self._poll = select.poll()
            self._poll.register(fd, IN)

    def wait(self, timeout_ns: int, write: bool = False) -> bool:
        """Return whether the descriptor became readable (or writable) before `timeout_ns` passed.

        An error or a hang-up counts as ready. False may come early, after MAX_POLL_WAIT_S: compare with the clock.

        Raises:
            NetworkError: the system cannot wait, for want of memory, say.
        """
        try:
            if sys.platform == "win32":
                watched = [self._fd]
                timeout_s = min(max(timeout_ns, 0) / NS_PER_S, MAX_POLL_WAIT_S)
                ready = select.select([] if write else watched, watched if write else [], watched, timeout_s)
                return any(ready)
            if write is not self._write:
                self._poll.modify(self._fd, OUT if write else IN)
                self._write = write
            if timeout_ns <= 0:
                return bool(self._poll.poll(0))
            timeout_ms = -(-timeout_ns // NS_PER_MS)
            return bool(self._poll.poll(timeout_ms if timeout_ms < _MAX_POLL_WAIT_MS else _MAX_POLL_WAIT_MS))
        except OSError as error:
            raise local_error("wait for a socket", error) from error


class WakeableWaiter:
    """Waits for one descriptor in either direction until another thread calls the waker.

    One thread at a time waits. It holds nothing in the kernel.

    Args:
        fd: the descriptor; the owner forgets the waiter when it closes the descriptor.
        waker: whose `wake()` ends a wait, and stays the owner's to close.
    """

    __slots__ = ("_fd", "_interest", "_poll", "_waker")

    def __init__(self, fd: int, waker: Waker) -> None:
        self._fd = fd
        self._waker = waker
        self._interest = IN
        if sys.platform != "win32":
            self._poll = select.poll()
            self._poll.register(fd, IN)
            self._poll.register(waker.fileno(), IN)

    def wait(self, timeout_ns: int, write: bool, read: bool = True) -> int:
        """What the descriptor is ready for (READABLE and WRITABLE, both for errors); 0: woken, or the time is over.

        Errors and hang-ups end the wait in either case.

        Raises:
            NetworkError: the system cannot wait, for want of memory, say.
        """
        timeout_ms = min(-(-max(timeout_ns, 0) // NS_PER_MS), _MAX_POLL_WAIT_MS)
        mask = 0
        try:
            if sys.platform == "win32":
                watched = [self._fd]
                came, wrote, failed = select.select(
                    [*(watched if read else ()), self._waker.fileno()],
                    watched if write else [],
                    watched,
                    timeout_ms / 1000,
                )
                woken = self._waker.fileno() in came
                mask = (IN if self._fd in came else 0) | (OUT if wrote else 0) | (READABLE if failed else 0)
            else:
                interest = (IN if read else 0) | (OUT if write else 0)
                if interest != self._interest:
                    self._poll.modify(self._fd, interest)
                    self._interest = interest
                woken = False
                for fd, found in self._poll.poll(timeout_ms):
                    if fd == self._fd:
                        mask = found
                    else:
                        woken = True
        except OSError as error:
            raise local_error("wait for a socket", error) from error
        if woken:
            self._waker.drain()
        return mask


def wait_for_any(fds: Collection[int], timeout_ns: int, write: bool = False) -> list[int]:
    """Return those of `fds` that became readable (or writable) before `timeout_ns` passed; for a thread that dials.

    Errors, hang-ups and early returns are as in `SingleWaiter.wait`.

    Raises:
        NetworkError: the system cannot wait, for want of memory, say.
    """
    try:
        if sys.platform == "win32":
            timeout_s = min(max(timeout_ns, 0) / NS_PER_S, MAX_POLL_WAIT_S)
            ready = select.select([] if write else fds, fds if write else [], fds, timeout_s)
            return list({fd for found in ready for fd in found})
        poll = select.poll()
        for fd in fds:
            poll.register(fd, OUT if write else IN)
        timeout_ms = -(-max(timeout_ns, 0) // NS_PER_MS)
        return [fd for fd, _ in poll.poll(min(timeout_ms, _MAX_POLL_WAIT_MS))]
    except OSError as error:
        raise local_error("wait for a socket", error) from error
