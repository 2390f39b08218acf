"""Names to addresses: cached, shared between callers, and off the thread of whoever must not wait.

getaddrinfo() blocks for as long as it likes and cannot be interrupted, so a caller with a deadline, or a loop, leaves
it to a worker thread. Workers touch nothing but the resolver's own records: a loop's look-ups complete inside
`deliver()`, on the thread that calls it.

Order of addresses: getaddrinfo sorts by RFC 6724, `in_attempt_order` then lets the families alternate (RFC 8305
section 4). AI_ADDRCONFIG is not asked for: it hides loopback addresses on a machine without a network, and RFC 6724
already puts what cannot be reached last.

Invariants, under the one lock:

- A name is looked up by one worker at a time; everybody else who wants it joins that look-up.
- `_waiting`, the callers and look-ups without an answer yet, is at most `max_pending`; a queued look-up that nobody
  waits for any more leaves the queue.
- A user's own resolver is asked where the system would be. It is given the port as well, and keeps what it likes to
  keep: its answers are for those who wait, and are not cached.
- The cache holds at most `max_entries` names, the least recently used leaving first. Failures are remembered for a
  shorter time. getaddrinfo tells no TTL, so the lifetimes are ours.

Left to others: which address works (`transport/`), and telling `fork()` (call `after_fork` in the child).
"""

from __future__ import annotations

import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from turbosock.errors import ConnectTimeout, InvalidOption, LimitError, ResolveError, StateError
from turbosock.forks import renewed_in_child
from turbosock.limits import (
    FAILED_NAME_LIFETIME_S,
    MAX_CACHED_NAMES,
    MAX_PENDING_LOOKUPS,
    NAME_LIFETIME_S,
    RESOLVER_IDLE_S,
    RESOLVER_THREADS,
)
from turbosock.reactor.address import Address, in_attempt_order, literal_addresses, with_port
from turbosock.reactor.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from turbosock.reactor.latch import Latch
from turbosock.reactor.waker import Waker

__all__ = ["Address", "Lookup", "LookupTarget", "Resolver"]

# (host, port, family, type) to the tuples of socket.getaddrinfo.
GetAddrInfo = Callable[[str, int, int, int], Sequence[tuple[Any, ...]]]

_ADVICE = {
    socket.EAI_NONAME: "no such name; check its spelling",
    socket.EAI_AGAIN: "no name server answered; check the network and /etc/resolv.conf, and try again",
    socket.EAI_FAIL: "the name server failed; try again later or ask another",
}


# How often a caller that waits for a name is asked whether it still wants it.
CHECK_INTERVAL_S = 0.05


class LookupTarget(Protocol):
    """Whatever waits for a name."""

    def on_resolved(self, lookup: Lookup) -> None:
        """The look-up finished; called inside `Resolver.deliver`."""
        ...


class _Answer:
    """What a look-up found: addresses with port 0, or why there are none. Never changed once made."""

    __slots__ = ("addresses", "errno", "expires_ns", "message")

    def __init__(self, addresses: tuple[Address, ...], message: str, errno: int | None, expires_ns: int) -> None:
        self.addresses = addresses
        self.message = message
        self.errno = errno
        self.expires_ns = expires_ns

    def error(self) -> ResolveError | None:
        """Return a new error for each caller: each adds what it was doing, and a traceback."""
        return None if self.addresses else ResolveError(self.message, errno=self.errno)


# What look-ups have in common that one answer serves: a host, and the port where the answer depends on it, else 0.
_Name = tuple[str, int]


class _Job:
    """One name on its way through a worker, and those who wait for it."""

    __slots__ = ("answer", "finished", "lookups", "name", "wanted")

    def __init__(self, name: _Name) -> None:
        self.name = name
        self.lookups: list[Lookup] = []
        self.wanted = 0
        self.answer: _Answer | None = None
        self.finished = Latch()


class Lookup:
    """A look-up that `Resolver.start` began.

    Once `finished`, either `addresses` holds at least one address in order of attempts, or `error` says why not.
    """

    __slots__ = ("_job", "_resolver", "_target", "addresses", "error", "finished", "host", "port")

    def __init__(self, resolver: Resolver, host: str, port: int, target: LookupTarget) -> None:
        self._resolver = resolver
        self._target: LookupTarget | None = target
        self._job: _Job | None = None
        self.host = host
        self.port = port
        self.finished = False
        self.addresses: list[Address] = []
        self.error: ResolveError | None = None

    def cancel(self) -> None:
        """Let go of the target: `on_resolved` is not called any more. It does nothing once finished."""
        self._resolver._cancel(self)


class Resolver:
    """Turns names into addresses, for any number of blocking threads and for one loop.

    Args:
        clock: tells deadlines and the age of answers.
        waker: woken when `deliver()` has something to do; None for blocking callers only.
        threads: workers at most; they start when needed and end when idle.
        lifetime_s, failed_lifetime_s: how long answers and failures are remembered, in seconds; 0 for not at all.
        max_entries: names remembered.
        max_pending: callers and look-ups that may wait for workers at once.
        getaddrinfo: asks the system; replaceable for tests.
        custom: what is asked instead of the system; see `CustomResolver`.
    """

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM_CLOCK,
        waker: Waker | None = None,
        threads: int = RESOLVER_THREADS,
        lifetime_s: float = NAME_LIFETIME_S,
        failed_lifetime_s: float = FAILED_NAME_LIFETIME_S,
        max_entries: int = MAX_CACHED_NAMES,
        max_pending: int = MAX_PENDING_LOOKUPS,
        getaddrinfo: GetAddrInfo = socket.getaddrinfo,
        custom: object = None,
    ) -> None:
        for name, count in (("threads", threads), ("max_entries", max_entries), ("max_pending", max_pending)):
            if count < 1:
                raise InvalidOption(f"{name} is {count}: it must be at least 1")
        for name, seconds in (("lifetime_s", lifetime_s), ("failed_lifetime_s", failed_lifetime_s)):
            if not 0 <= seconds < float("inf"):
                raise InvalidOption(f"{name} is {seconds}: it must be a number of seconds, 0 or more")
        self._clock = clock
        self._waker = waker
        self._max_workers = threads
        self._lifetime_ns = round(lifetime_s * NS_PER_S)
        self._failed_lifetime_ns = round(failed_lifetime_s * NS_PER_S)
        self._max_entries = max_entries
        self._max_pending = max_pending
        self._getaddrinfo = getaddrinfo
        self._is_custom = custom is not None
        if custom is not None:
            from turbosock.reactor.custom_resolver import CustomResolver

            self._getaddrinfo = CustomResolver(custom).getaddrinfo
        self._cache: OrderedDict[_Name, _Answer] = OrderedDict()
        self._closed = False
        self._forget_workers()
        _resolvers.add(self)

    def _forget_workers(self) -> None:
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._queue: deque[_Job] = deque()
        self._jobs: dict[_Name, _Job] = {}
        self._answered: deque[Lookup] = deque()
        self._workers = 0
        self._idle_workers = 0
        self._waiting = 0

    @property
    def pending(self) -> int:
        """How many callers and look-ups wait for an answer, or for `deliver()`."""
        return self._waiting

    def resolve(
        self,
        host: str,
        port: int,
        deadline_ns: int | None = None,
        check: Callable[[], object] | None = None,
    ) -> list[Address]:
        """Return the addresses of `host` in order of attempts, waiting for them.

        Args:
            host: a name in ASCII, or an address without brackets.
            port: what the addresses carry.
            deadline_ns: when to give up, on the resolver's clock. None asks the system on this very thread, for as
                long as it takes.
            check: called now and then while a deadline is waited for; what it raises ends the wait.

        Raises:
            InvalidUrl: the host is neither a name nor an address in its usual form.
            ResolveError: the name has no usable address; `errno` is the EAI_ code of getaddrinfo.
            ConnectTimeout: the deadline passed first. The look-up goes on for the next caller.
            LimitError: `max_pending` wait already.
            StateError: the resolver is closed.
        """
        literal = self._literal_addresses(host, port)
        if literal is not None:
            return literal
        name = self._name(host, port)
        with self._lock:
            answer = self._cached(name)
            job = self._join(name) if answer is None and deadline_ns is not None else None
        if answer is None:
            if job is None or deadline_ns is None:
                answer = self._ask(name)
                with self._lock:
                    self._remember(name, answer)
            else:
                answer = self._wait(job, deadline_ns, check)
        error = answer.error()
        if error is not None:
            raise error
        return with_port(answer.addresses, port)

    def start(self, host: str, port: int, target: LookupTarget) -> Lookup:
        """Begin to look up `host` for a loop.

        Returns:
            The look-up. If it is `finished` already, from the cache or because the host is an address, the target is
            not called; otherwise `target.on_resolved(lookup)` is called inside a later `deliver()`.

        Raises:
            InvalidUrl: the host is neither a name nor an address in its usual form.
            LimitError: `max_pending` wait already.
            StateError: the resolver is closed.
        """
        lookup = Lookup(self, host, port, target)
        try:
            literal = self._literal_addresses(host, port)
        except ResolveError as error:
            lookup.error = error
            lookup.finished = True
            return lookup
        if literal is not None:
            lookup.addresses = literal
            lookup.finished = True
            return lookup
        name = self._name(host, port)
        with self._lock:
            answer = self._cached(name)
            if answer is None:
                job = self._join(name)
                job.lookups.append(lookup)
                lookup._job = job
        if answer is not None:
            lookup._target = None
            _finish(lookup, answer)
        return lookup

    def deliver(self) -> int:
        """Call the targets of the look-ups that were answered; return how many. One thread, the loop's, calls it.

        An exception of a target passes through; the others stay for the next call, and the waker is woken for it.
        """
        answered = self._answered
        delivered = 0
        # No more than are here now: targets may start look-ups that are answered meanwhile.
        for _ in range(len(answered)):
            try:
                with self._lock:
                    if not answered:
                        # A target closed the resolver.
                        break
                    lookup = answered[0]
                    job = lookup._job
                    target = lookup._target
                    if job is None or target is None:
                        answered.popleft()
                        continue
                    assert job.answer is not None, "only an answered job is handed over"
                    # Before it leaves the line: there may be no memory for it.
                    _finish(lookup, job.answer)
                    answered.popleft()
                    lookup._job = lookup._target = None
                    self._waiting -= 1
                delivered += 1
                target.on_resolved(lookup)
            except BaseException:
                if answered and self._waker is not None:
                    self._waker.wake()
                raise
        return delivered

    def forget(self, host: str | None = None) -> None:
        """Drop what is remembered of `host`, or of every name; the next look-up asks the system."""
        with self._lock:
            if host is None:
                self._cache.clear()
            else:
                self._cache.pop(self._name(host, 0), None)

    def close(self) -> None:
        """Stop the workers without waiting for a stuck look-up; a second call does nothing.

        Look-ups in flight are dropped and their targets not called; threads in `resolve` get StateError.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.clear()
            self._answered.clear()
            self._cache.clear()
            jobs = list(self._jobs.values())
            self._jobs.clear()
            self._waiting = 0
            self._work.notify_all()
        for job in jobs:
            for lookup in job.lookups:
                lookup._target = lookup._job = None
            job.finished.set()

    def after_fork(self, waker: Waker | None = None) -> None:
        """Start afresh in the child of a fork: the workers stayed in the parent, and so did who waited for them.

        Args:
            waker: the child's own; a shared one would wake the parent.
        """
        self._waker = waker
        self._forget_workers()

    def _literal_addresses(self, host: str, port: int) -> list[Address] | None:
        if self._closed:
            raise _closed_error()
        return literal_addresses(host, port)

    def _name(self, host: str, port: int) -> _Name:
        # The final dot stays: it keeps the search list of resolv.conf out, and so may change the answer.
        return host.lower(), port if self._is_custom else 0

    def _cached(self, name: _Name) -> _Answer | None:
        answer = self._cache.get(name)
        if answer is None:
            return None
        if answer.expires_ns <= self._clock.now_ns():
            del self._cache[name]
            return None
        self._cache.move_to_end(name)
        return answer

    def _remember(self, name: _Name, answer: _Answer) -> None:
        if self._closed or self._is_custom:
            return
        self._cache[name] = answer
        self._cache.move_to_end(name)
        if len(self._cache) > self._max_entries:
            self._cache.popitem(last=False)

    def _join(self, name: _Name) -> _Job:
        """Return the job of `name`, queued if there is none, with one more who wants it. The lock is held."""
        if self._closed:
            raise _closed_error()
        if self._waiting >= self._max_pending:
            raise LimitError(
                f"{self._max_pending} look-ups wait already (max_pending): start fewer at once, "
                "or check that the name servers answer"
            )
        job = self._jobs.get(name)
        if job is None:
            job = _Job(name)
            # Every idle worker may have been woken for a job of its own already.
            if len(self._queue) >= self._idle_workers and self._workers < self._max_workers:
                self._start_worker()
            self._jobs[name] = job
            self._queue.append(job)
            self._work.notify()
        job.wanted += 1
        self._waiting += 1
        return job

    def _start_worker(self) -> None:
        try:
            threading.Thread(target=self._run_worker, name="turbosock-resolver", daemon=True).start()
        except RuntimeError as error:
            if self._workers == 0:
                raise LimitError(f"cannot start a resolver thread: {error}") from error
            return
        self._workers += 1

    def _wait(self, job: _Job, deadline_ns: int, check: Callable[[], object] | None) -> _Answer:
        try:
            while not job.finished.is_set:
                remaining_ns = deadline_ns - self._clock.now_ns()
                if remaining_ns <= 0:
                    raise ConnectTimeout(
                        f"no name server answered for {job.name[0]} in time: check the network and /etc/resolv.conf, "
                        "or allow more time"
                    )
                if check is None:
                    job.finished.wait(remaining_ns / NS_PER_S)
                else:
                    job.finished.wait(min(remaining_ns / NS_PER_S, CHECK_INTERVAL_S))
                    check()
        finally:
            with self._lock:
                if not self._closed:
                    self._waiting -= 1
                    self._leave(job)
        if job.answer is None:
            raise _closed_error()
        return job.answer

    def _cancel(self, lookup: Lookup) -> None:
        with self._lock:
            job = lookup._job
            lookup._target = None
            lookup._job = None
            if job is None or self._closed:
                return
            self._waiting -= 1
            if job.answer is None:
                job.lookups.remove(lookup)
                self._leave(job)

    def _leave(self, job: _Job) -> None:
        """Count one fewer who wants `job`, and take it out of the queue when that was the last. The lock is held."""
        job.wanted -= 1
        if job.wanted == 0 and job in self._queue:
            self._queue.remove(job)
            del self._jobs[job.name]

    def _run_worker(self) -> None:
        # After fork() the child's resolver has another lock; this thread is not in the child.
        while True:
            with self._lock:
                self._idle_workers += 1
                woken = True
                while woken and not self._queue and not self._closed:
                    woken = self._work.wait(RESOLVER_IDLE_S)
                self._idle_workers -= 1
                if self._closed or not self._queue:
                    self._workers -= 1
                    return
                job = self._queue.popleft()
            answer = self._ask(job.name)
            with self._lock:
                if self._jobs.pop(job.name, None) is not job:
                    # Closed meanwhile.
                    self._workers -= 1
                    return
                self._remember(job.name, answer)
                job.answer = answer
                self._answered.extend(job.lookups)
                job.finished.set()
                waker = self._waker if job.lookups else None
            if waker is not None:
                waker.wake()

    def _ask(self, name: _Name) -> _Answer:
        """Ask the system, on the present thread and without the lock."""
        errno = None
        addresses: tuple[Address, ...] = ()
        try:
            found = self._getaddrinfo(*name, socket.AF_UNSPEC, socket.SOCK_STREAM)
            addresses = in_attempt_order(
                Address(int(family), sockaddr)
                for family, _, _, _, sockaddr in found
                if family in (socket.AF_INET, socket.AF_INET6)
            )
            reason = "it has neither an IPv4 nor an IPv6 address"
        except OSError as error:
            errno = error.errno
            reason = _ADVICE.get(errno or 0) or error.strerror or str(error)
        except Exception as error:
            # Whatever a replaced getaddrinfo raises: a worker that died would leave its callers waiting.
            reason = f"{type(error).__name__}: {error}"
        lifetime_ns = self._lifetime_ns if addresses else self._failed_lifetime_ns
        return _Answer(addresses, f"cannot resolve {name[0]}: {reason}", errno, self._clock.now_ns() + lifetime_ns)


def _finish(lookup: Lookup, answer: _Answer) -> None:
    lookup.error = answer.error()
    lookup.addresses = with_port(answer.addresses, lookup.port)
    lookup.finished = True


def _closed_error() -> StateError:
    return StateError("the resolver is closed: make a new Client or Loop", code="closed")


_resolvers: Final = renewed_in_child(Resolver.after_fork)
