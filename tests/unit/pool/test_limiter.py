"""Permits by host: the order of the line, its end, threads that wait, interrupts, and what is refused."""

from __future__ import annotations

import dis
import random
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from support.forks import NEEDS_FORK, held_elsewhere, in_child
from support.in_thread import InThread
from turbosock import limits
from turbosock.errors import ClientClosed, InvalidOption, LimitError, PoolTimeout, StateError
from turbosock.pool import limiter as limiter_module
from turbosock.pool.limiter import CLOSED, FREE, GRANTED, WAITING, ConcurrencyLimiter, LimiterStats, Permit, Ticket
from turbosock.pool.origin_pool import OriginKey
from turbosock.reactor.clock import ManualClock

# For what must not last at all: nothing waits so long unless it is broken.
GUARD_S = 30.0
# For what must time out: it passes for certain, and nobody waits for it in vain.
SOON_S = 0.001


class Noting(Ticket):
    """A ticket that notes what it is told.

    Args:
        then: called when the permit comes.
    """

    def __init__(self, then: Callable[[], object] | None = None) -> None:
        super().__init__()
        self.told: list[str] = []
        self.then = then

    def on_granted(self) -> None:
        self.told.append("granted")
        if self.then is not None:
            self.then()

    def on_closed(self) -> None:
        self.told.append("closed")

    def cancel(self) -> None:
        self.told.append("cancel")


def entered(limiter: ConcurrencyLimiter, count: int, host: str = "a") -> list[Noting]:
    """Tickets that entered, one after the other."""
    tickets = [Noting() for _ in range(count)]
    for ticket in tickets:
        limiter.enter(host, ticket)
    return tickets


def wait_for_line(limiter: ConcurrencyLimiter, count: int) -> None:
    """Return when `count` stand in line; another thread is about to."""
    turn = threading.Event()
    for _ in range(30_000):
        if limiter.waiting >= count:
            return
        turn.wait(0.001)
    raise AssertionError("nobody came to stand in line")


class Crew:
    """Threads that end with the test, and whose errors are the test's."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.errors: list[BaseException] = []

    def begin(self, work: Callable[[], object]) -> None:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()

    def end(self) -> list[BaseException]:
        for thread in self.threads:
            thread.join(GUARD_S)
            assert not thread.is_alive(), "a thread waits for ever"
        return self.errors


# The line


def test_permits_up_to_the_limit_are_granted_at_once() -> None:
    limiter = ConcurrencyLimiter(2)
    tickets = [Noting() for _ in range(3)]
    assert [limiter.enter("a", ticket) for ticket in tickets] == [True, True, False]
    assert [ticket.state for ticket in tickets] == [GRANTED, GRANTED, WAITING]
    assert all(ticket.told == [] for ticket in tickets)
    assert limiter.stats() == (1, 2, 1, 2, 1, 0, 0, 0)


def test_permit_given_back_goes_to_who_came_first() -> None:
    limiter = ConcurrencyLimiter(1)
    first, second, third = entered(limiter, 3)
    limiter.leave(first)
    assert (first.state, second.state, third.state) == (FREE, GRANTED, WAITING)
    assert (second.told, third.told) == (["granted"], [])
    limiter.leave(second)
    assert third.told == ["granted"]
    limiter.leave(third)
    assert limiter.stats() == (0, 0, 0, 3, 2, 0, 0, 0)


def test_hosts_do_not_share_permits() -> None:
    limiter = ConcurrencyLimiter(1)
    (a,) = entered(limiter, 1, "a")
    (b,) = entered(limiter, 1, "b")
    assert (a.state, b.state, limiter.in_flight) == (GRANTED, GRANTED, 2)


@pytest.mark.parametrize("which", [1, 2, 3, 4])
def test_ticket_that_leaves_the_line_is_passed_over_wherever_it_stands(which: int) -> None:
    limiter = ConcurrencyLimiter(1)
    tickets = entered(limiter, 5)
    gone = tickets.pop(which)
    limiter.leave(gone)
    assert gone.state == FREE
    for here, after in zip(tickets, [*tickets[1:], None], strict=True):
        assert here.state == GRANTED
        limiter.leave(here)
        assert after is None or after.told == ["granted"]
    assert gone.told == []
    assert limiter.stats() == (0, 0, 0, 4, 4, 0, 1, 0)


def test_holder_in_the_middle_leaves_and_the_line_moves_by_one() -> None:
    limiter = ConcurrencyLimiter(3)
    tickets = entered(limiter, 6)
    for place in (1, 0, 2):
        limiter.leave(tickets[place])
    assert [ticket.state for ticket in tickets[3:]] == [GRANTED] * 3
    for ticket in reversed(tickets[3:]):
        limiter.leave(ticket)
    assert limiter.stats()[:3] == (0, 0, 0)


def test_leaving_twice_or_without_having_entered_does_nothing() -> None:
    limiter = ConcurrencyLimiter(1)
    first, second, third = entered(limiter, 3)
    limiter.leave(Noting())
    limiter.leave(first)
    limiter.leave(first)
    assert (second.state, third.state) == (GRANTED, WAITING)
    limiter.leave(third)
    limiter.leave(third)
    assert limiter.stats().cancelled == 1


def test_permit_granted_at_the_last_moment_is_passed_on() -> None:
    limiter = ConcurrencyLimiter(1)
    first, second, third = entered(limiter, 3)
    limiter.leave(first)
    # Its time passed meanwhile.
    limiter.leave(second, timed_out=True)
    assert third.state == GRANTED
    assert limiter.stats() == (1, 1, 0, 3, 2, 0, 0, 0)


def test_ticket_that_is_in_use_is_refused_and_stays_as_it_was() -> None:
    limiter = ConcurrencyLimiter(1)
    holds, waits = entered(limiter, 2)
    for ticket, state in ((holds, "GRANTED"), (waits, "WAITING")):
        with pytest.raises(StateError, match=f"the ticket is {state}: leave"):
            limiter.enter("b", ticket)
    assert limiter.stats()[:3] == (1, 1, 1)
    limiter.leave(holds)
    assert waits.state == GRANTED


def test_ticket_serves_again_and_remembers_its_own_times() -> None:
    clock = ManualClock(5)
    limiter = ConcurrencyLimiter(1, clock=clock)
    first, second = entered(limiter, 2)
    assert (first.asked_ns, first.granted_ns, first.waited_ns) == (5, 5, 0)
    clock.advance(ns=7)
    assert (second.asked_ns, second.granted_ns, second.waited_ns) == (5, 0, 0)
    limiter.leave(first)
    assert (second.asked_ns, second.granted_ns, second.waited_ns) == (5, 12, 7)
    limiter.enter("a", first)
    assert (first.asked_ns, first.granted_ns, first.waited_ns) == (12, 0, 0)


def test_ticket_that_left_refers_to_nothing() -> None:
    limiter = ConcurrencyLimiter(1)
    tickets = entered(limiter, 4)
    for ticket in (tickets[1], tickets[0], tickets[3], tickets[2]):
        limiter.leave(ticket)
        assert (ticket._before, ticket._after, ticket._line) == (None, None, None)


def test_long_line_of_those_that_are_done_at_once_is_no_recursion() -> None:
    limiter = ConcurrencyLimiter(1)
    order: list[int] = []
    tickets: list[Noting] = []

    def done(number: int) -> Callable[[], None]:
        def leave() -> None:
            order.append(number)
            limiter.leave(tickets[number])

        return leave

    for number in range(5000):
        tickets.append(Noting(done(number)))
        limiter.enter("a", tickets[-1])
    limiter.leave(tickets[0])
    assert order == list(range(1, 5000))
    assert limiter.stats()[:3] == (0, 0, 0)


def test_error_of_one_that_is_told_keeps_nothing_from_the_others() -> None:
    limiter = ConcurrencyLimiter(1)
    first, second, third = entered(limiter, 3)

    def fail() -> None:
        if second.state == GRANTED:
            limiter.leave(second)
            raise RuntimeError("its own")

    second.then = fail
    with pytest.raises(RuntimeError, match="its own"):
        limiter.leave(first)
    assert (third.state, third.told[:1]) == (GRANTED, ["granted"])
    limiter.leave(third)
    assert limiter.stats()[:3] == (0, 0, 0)
    assert limiter._telling == {}


# Hosts


def test_host_is_known_only_while_somebody_is_there() -> None:
    limiter = ConcurrencyLimiter(1, max_hosts=2)
    a, waits = entered(limiter, 2, "a")
    (b,) = entered(limiter, 1, "b")
    refused = Noting()
    with pytest.raises(
        LimitError, match=r"enter\(\): no permit for 'c', because max_hosts=2 others .*: raise max_hosts"
    ):
        limiter.enter("c", refused)
    assert refused.state == FREE
    limiter.leave(a)
    with pytest.raises(LimitError):
        limiter.enter("c", refused)
    limiter.leave(waits)
    assert limiter.enter("c", refused)
    limiter.leave(b)
    limiter.leave(refused)
    assert limiter.stats() == LimiterStats(0, 0, 0, granted=4, waited=1, timed_out=0, cancelled=0, refused=2)


def test_many_hosts_in_turn_leave_nothing_behind() -> None:
    limiter = ConcurrencyLimiter(1, max_hosts=3)
    ticket = Ticket()
    for number in range(1000):
        assert limiter.enter(number, ticket)
        limiter.leave(ticket)
    assert limiter.stats()[:4] == (0, 0, 0, 1000)
    # One line was enough for them all.
    assert limiter._spare is not None
    assert limiter._spare.spare is None
    assert limiter._spare.host is None


def test_host_may_be_any_key_and_equal_keys_are_one() -> None:
    limiter = ConcurrencyLimiter(1)
    key = OriginKey("http", "a", 80)
    assert limiter.enter(key, Noting())
    assert not limiter.enter(OriginKey("http", "a", 80), Noting())
    assert limiter.enter(OriginKey("https", "a", 80), Noting())
    assert limiter.enter(None, Noting())


# Threads


def test_permit_is_held_for_its_block() -> None:
    limiter = ConcurrencyLimiter(1)
    with limiter.permit("a") as permit:
        assert (permit.state, permit.waited_ns, limiter.in_flight) == (GRANTED, 0, 1)
    assert (permit.state, limiter.in_flight) == (FREE, 0)


def test_permit_comes_back_from_a_block_that_fails() -> None:
    limiter = ConcurrencyLimiter(1)
    with pytest.raises(KeyError), limiter.permit("a"):
        raise KeyError
    assert limiter.stats()[:3] == (0, 0, 0)


def test_permit_not_used_holds_nothing() -> None:
    limiter = ConcurrencyLimiter(1)
    limiter.permit("a")
    assert limiter.stats() == (0,) * 8


def test_permit_is_for_one_block() -> None:
    limiter = ConcurrencyLimiter(2)
    permit = limiter.permit("a")
    with permit:
        with pytest.raises(StateError, match="one `with` block"), permit:
            pass
        assert limiter.in_flight == 1
    with pytest.raises(StateError), permit:
        pass
    assert limiter.in_flight == 0


def test_thread_waits_for_its_permit_and_knows_how_long() -> None:
    clock = ManualClock(1)
    limiter = ConcurrencyLimiter(1, clock=clock)
    crew = Crew()
    waited: list[int] = []

    def work() -> None:
        with limiter.permit("a") as permit:
            waited.append(permit.waited_ns)

    holder = Ticket()
    limiter.enter("a", holder)
    crew.begin(work)
    wait_for_line(limiter, 1)
    clock.advance(ns=250)
    limiter.leave(holder)
    assert crew.end() == []
    assert waited == [250]


def test_threads_and_tickets_stand_in_one_line() -> None:
    limiter = ConcurrencyLimiter(1)
    crew = Crew()
    order: list[str] = []
    last = threading.Event()

    def work() -> None:
        with limiter.permit("a"):
            order.append("thread")

    def granted() -> None:
        order.append("ticket")
        last.set()

    holder, ticket = Ticket(), Noting(granted)
    limiter.enter("a", holder)
    crew.begin(work)
    wait_for_line(limiter, 1)
    limiter.enter("a", ticket)
    limiter.leave(holder)
    assert last.wait(GUARD_S)
    assert crew.end() == []
    assert order == ["thread", "ticket"]


def test_thread_whose_time_passes_is_told_what_to_raise_and_leaves_no_trace() -> None:
    limiter = ConcurrencyLimiter(1)
    (holder,) = entered(limiter, 1)
    message = r"'a' within 0\.001 s, because all 1 are.*: raise max_per_host or timeout_s"
    with pytest.raises(PoolTimeout, match=message), limiter.permit("a", SOON_S):
        pass
    assert limiter.stats() == (1, 1, 0, 1, 1, 1, 0, 0)
    limiter.leave(holder)
    assert limiter.stats()[:3] == (0, 0, 0)


def test_thread_granted_as_its_time_passes_keeps_the_permit(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = ConcurrencyLimiter(1)
    (holder,) = entered(limiter, 1)

    class Late:
        """A lock whose wait ends without it, as the permit comes."""

        def acquire(self, timeout: float = -1.0) -> bool:
            if timeout == -1.0:
                return True
            assert timeout == 5
            limiter.leave(holder)
            return False

        def release(self) -> None:
            pass

    with monkeypatch.context() as patch:
        permit = limiter.permit("a", 5)
        patch.setattr(threading, "Lock", Late)
        with permit:
            assert permit.state == GRANTED
    assert limiter.stats() == (0, 0, 0, 2, 1, 0, 0, 0)


def test_permit_without_a_time_waits_for_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POOL_TIMEOUT_S", SOON_S)
    limiter = ConcurrencyLimiter(1)
    entered(limiter, 1)
    with pytest.raises(PoolTimeout), limiter.permit("a"):
        pass


def test_permits_under_many_threads_never_exceed_the_limit_and_none_is_lost() -> None:
    limiter = ConcurrencyLimiter(3, max_hosts=2)
    inside = {"a": 0, "b": 0}
    most = {"a": 0, "b": 0}
    counted = threading.Lock()
    start = threading.Barrier(12)
    crew = Crew()
    outcomes: list[str] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        start.wait(GUARD_S)
        for _ in range(120):
            host = chance.choice("ab")
            try:
                with limiter.permit(host, chance.choice([SOON_S, GUARD_S])):
                    with counted:
                        inside[host] += 1
                        most[host] = max(most[host], inside[host])
                    with counted:
                        inside[host] -= 1
                outcomes.append("granted")
            except PoolTimeout:
                outcomes.append("timed out")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for seed in range(12):
            crew.begin(lambda seed=seed: work(seed))  # type: ignore[misc]  # mypy sees no type for the default
        assert crew.end() == []
    finally:
        sys.setswitchinterval(interval)
    stats = limiter.stats()
    assert (stats.hosts, stats.in_flight, stats.waiting) == (0, 0, 0)
    assert len(outcomes) == 12 * 120 == stats.granted + stats.timed_out
    assert 1 <= most["a"] <= 3
    assert 1 <= most["b"] <= 3


# Interrupts


def test_interrupt_of_a_thread_in_line_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = ConcurrencyLimiter(1)
    (holder,) = entered(limiter, 1)

    class Interrupted:
        """A lock whose wait is interrupted."""

        def acquire(self, timeout: float = -1.0) -> bool:
            if timeout != -1.0:
                raise KeyboardInterrupt
            return True

    permit = limiter.permit("a")
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Lock", Interrupted)
        with pytest.raises(KeyboardInterrupt), permit:
            pass
    assert limiter.stats() == (1, 1, 0, 1, 1, 0, 1, 0)
    limiter.leave(holder)
    assert limiter.stats()[:3] == (0, 0, 0)


class Interruption:
    """A KeyboardInterrupt at the nth place in the limiter's code where the interpreter looks for one.

    CPython looks after a call, at the beginning of a function and at a jump back; nowhere else. (A trace function can
    raise after a call only from the next instruction, so a call may not be the last thing in a `with` block.)

    Args:
        nth: which place; counted from 0.
        start: the function that is counted with all that it calls, by its name.
    """

    LOOKS_AFTER = ("CALL", "CALL_FUNCTION_EX", "CALL_KW")

    def __init__(self, nth: int, start: str) -> None:
        self.left = nth
        self.outermost: FrameType | None = None
        self.start = start
        self.counting = False
        self.done = False
        # By frame: whether the instruction before was a call.
        self.called: dict[int, bool] = {}
        self.names: dict[Any, dict[int, str]] = {}

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename != limiter_module.__file__:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "call":
            self.called[id(frame)] = False
            if frame.f_code.co_name == self.start and self.outermost is None:
                self.outermost = frame
                self.counting = True
                # Nothing inside __exit__ can guard its own entry.
                if self.start == "__exit__":
                    return self
            self.place()
        elif event == "opcode" and self.looks(frame):
            self.place()
        elif event == "return" and frame is self.outermost:
            self.counting = False
        return self

    def place(self) -> None:
        """The interpreter looks here."""
        if not self.counting or self.done:
            return
        if self.left == 0:
            self.done = True
            raise KeyboardInterrupt
        self.left -= 1

    def looks(self, frame: FrameType) -> bool:
        """Whether the interpreter looks before this instruction is done."""
        names = self.names.get(frame.f_code)
        if names is None:
            names = self.names[frame.f_code] = {
                instruction.offset: instruction.opname for instruction in dis.get_instructions(frame.f_code)
            }
        name = names[frame.f_lasti]
        after_call = self.called[id(frame)]
        self.called[id(frame)] = name in self.LOOKS_AFTER
        return after_call or name == "JUMP_BACKWARD"


def interrupted(work: Callable[[], object], nth: int, start: str, rehearse: Callable[[], object]) -> bool:
    """Run `work` with an interrupt at the nth place; False when it has fewer.

    In a thread of its own: an error that tracing raises inside an except clause may leave the one that was handled on
    the thread's stack of them, where every later error of the thread would find it as its context.
    `rehearse` does the same with other objects: Python 3.13 traces the instructions of a function from its second call.
    """
    went_on = InThread(lambda: _interrupted(work, nth, start, rehearse)).outcome()
    if isinstance(went_on, BaseException):
        raise went_on
    return bool(went_on)


def _interrupted(work: Callable[[], object], nth: int, start: str, rehearse: Callable[[], object]) -> bool:
    interruption = Interruption(nth, start)
    before = sys.gettrace()
    # Python 3.12 and later trace instructions from the start only if some frame asked for it by then.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(interruption)
    try:
        interruption.done = True
        rehearse()
        interruption.done = False
        interruption.outermost = None
        interruption.counting = False
        work()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return interruption.done


@pytest.mark.parametrize("start", ["__enter__", "__exit__"])
@pytest.mark.parametrize("others", [0, 1])
def test_interrupt_at_any_place_of_a_block_loses_no_permit(start: str, others: int) -> None:
    for nth in range(200):
        limiter = ConcurrencyLimiter(1)
        line: list[Noting] = []

        def work(limiter: ConcurrencyLimiter = limiter, line: list[Noting] = line) -> None:
            with limiter.permit("a"):
                line += entered(limiter, others)

        went_on = interrupted(work, nth, start, lambda: work(ConcurrencyLimiter(1), []))
        assert limiter.stats()[:3] == (len(line), len(line), 0)
        for ticket in line:
            # Granted, and told of it: nobody waits for what is there.
            assert "granted" in ticket.told
            limiter.leave(ticket)
        assert limiter.stats()[:3] == (0, 0, 0)
        assert limiter._telling == {}
        if not went_on:
            assert nth >= 2 + 4 * others
            return
    raise AssertionError("no end of places")


def busy() -> ConcurrencyLimiter:
    """A limiter with holders and a line."""
    limiter = ConcurrencyLimiter(1)
    entered(limiter, 2)
    return limiter


def test_interrupt_at_any_place_of_a_wait_leaves_no_trace() -> None:
    for nth in range(200):
        limiter = ConcurrencyLimiter(1)
        (holder,) = entered(limiter, 1)

        def work(limiter: ConcurrencyLimiter = limiter) -> None:
            with pytest.raises(PoolTimeout), limiter.permit("a", SOON_S):
                pass

        went_on = interrupted(work, nth, "__enter__", lambda: work(busy()))
        assert limiter.stats()[:3] == (1, 1, 0)
        limiter.leave(holder)
        assert limiter.stats()[:3] == (0, 0, 0)
        if not went_on:
            assert nth > 5
            return
    raise AssertionError("no end of places")


def test_interrupt_at_any_place_of_close_is_made_good_by_a_second_one() -> None:
    for nth in range(300):
        limiter = ConcurrencyLimiter(1)
        tickets = entered(limiter, 3) + entered(limiter, 2, "b")

        def work(limiter: ConcurrencyLimiter = limiter) -> None:
            limiter.close(cancel=True)

        went_on = interrupted(work, nth, "close", lambda: work(busy()))
        assert limiter.close(cancel=True) == 2
        for ticket in tickets:
            assert ("cancel" if ticket.state == GRANTED else "closed") in ticket.told
            limiter.leave(ticket)
        assert limiter.stats()[:3] == (0, 0, 0)
        if not went_on:
            assert nth > 10
            return
    raise AssertionError("no end of places")


# The end


def test_closed_limiter_refuses_and_names_the_method() -> None:
    limiter = ConcurrencyLimiter(1)
    early = limiter.permit("a")
    assert limiter.close() == 0
    ticket = Noting()
    with pytest.raises(ClientClosed, match=r"^enter\(\): the concurrency limiter is closed"):
        limiter.enter("a", ticket)
    with pytest.raises(ClientClosed, match=r"^permit\(\): the concurrency limiter is closed"):
        limiter.permit("a")
    with pytest.raises(ClientClosed), early:
        pass
    assert ticket.state == FREE
    assert limiter.stats() == (0, 0, 0, 0, 0, 0, 0, 3)


def test_close_sends_the_line_away_and_grants_nothing_more() -> None:
    limiter = ConcurrencyLimiter(1)
    holder, second, third = entered(limiter, 3)
    assert limiter.close() == 1
    assert [ticket.state for ticket in (holder, second, third)] == [GRANTED, CLOSED, CLOSED]
    assert [ticket.told for ticket in (holder, second, third)] == [[], ["closed"], ["closed"]]
    limiter.leave(second)
    limiter.leave(holder)
    assert third.told == ["closed"]
    limiter.leave(third)
    assert [ticket.state for ticket in (holder, second, third)] == [FREE] * 3
    assert limiter.stats() == (0, 0, 0, 1, 2, 0, 0, 2)


def test_close_again_tells_nobody_twice_who_has_left() -> None:
    limiter = ConcurrencyLimiter(1)
    holder, second = entered(limiter, 2)
    limiter.close()
    limiter.leave(second)
    assert limiter.close() == 1
    assert second.told == ["closed"]
    limiter.leave(holder)
    assert limiter.close() == 0


def test_close_cancels_what_is_in_flight_if_asked() -> None:
    limiter = ConcurrencyLimiter(2)
    tickets = entered(limiter, 3) + entered(limiter, 1, "b")
    assert limiter.close() == 3
    assert limiter.close(cancel=True) == 3
    assert [ticket.told for ticket in tickets] == [["cancel"], ["cancel"], ["closed", "closed"], ["cancel"]]


def test_close_waits_for_those_that_it_cancels() -> None:
    limiter = ConcurrencyLimiter(2)

    class Obedient(Ticket):
        def cancel(self) -> None:
            crew.begin(lambda: limiter.leave(self))

    crew = Crew()
    for _ in range(2):
        limiter.enter("a", Obedient())
    assert limiter.close(wait_s=GUARD_S, cancel=True) == 0
    assert crew.end() == []


def test_close_waits_no_longer_than_told_and_says_how_many_are_left() -> None:
    limiter = ConcurrencyLimiter(2)
    entered(limiter, 2)
    assert limiter.close(wait_s=SOON_S) == 2


def test_close_waits_for_threads_that_are_inside() -> None:
    limiter = ConcurrencyLimiter(1)
    crew = Crew()
    inside, go = threading.Event(), threading.Event()

    def work() -> None:
        with limiter.permit("a"):
            inside.set()
            assert go.wait(GUARD_S)

    def open_the_door() -> None:
        wait_for_closed(limiter)
        go.set()

    crew.begin(work)
    assert inside.wait(GUARD_S)
    crew.begin(open_the_door)
    assert limiter.close(wait_s=GUARD_S) == 0
    assert crew.end() == []


def wait_for_closed(limiter: ConcurrencyLimiter) -> None:
    turn = threading.Event()
    for _ in range(30_000):
        try:
            limiter.permit("b")
        except ClientClosed:
            return
        turn.wait(0.001)
    raise AssertionError("nobody closed it")


def test_close_wakes_threads_in_line() -> None:
    limiter = ConcurrencyLimiter(1)
    entered(limiter, 1)
    crew = Crew()

    def work() -> None:
        with limiter.permit("a", GUARD_S):
            pass

    for _ in range(3):
        crew.begin(work)
    wait_for_line(limiter, 3)
    assert limiter.close() == 1
    errors = crew.end()
    assert len(errors) == 3
    for error in errors:
        assert isinstance(error, ClientClosed)
        assert str(error).startswith("permit(): the concurrency limiter was closed")
    assert limiter.stats() == (1, 1, 0, 1, 3, 0, 0, 3)


@NEEDS_FORK
def test_child_of_a_fork_starts_clean_whoever_held_the_lock() -> None:
    limiter = ConcurrencyLimiter(1, max_hosts=1)
    holder, second = entered(limiter, 2)

    def use() -> None:
        assert (holder.state, second.state) == (FREE, FREE)
        limiter.leave(holder)
        with limiter.permit("b", SOON_S):
            assert limiter.stats()[:3] == (1, 1, 0)
        assert second.told == []

    with held_elsewhere(limiter._lock):
        in_child(use)
    assert limiter.stats()[:3] == (1, 1, 1)


@NEEDS_FORK
def test_fork_inside_a_block_leaves_parent_and_child_sound() -> None:
    limiter = ConcurrencyLimiter(1)

    def use() -> None:
        with limiter.permit("a", SOON_S):
            pass

    with limiter.permit("a"):
        in_child(use)
        assert limiter.in_flight == 1
    assert limiter.in_flight == 0


# Settings


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", None, limits.MAX_LIMITER_COUNT + 1])
@pytest.mark.parametrize("name", ["max_per_host", "max_hosts"])
def test_bound_that_is_none_is_refused_by_name(name: str, value: int) -> None:
    with pytest.raises(InvalidOption, match=f"{name}="):
        ConcurrencyLimiter(**{name: value})  # type: ignore[arg-type]  # no clock among them


@pytest.mark.parametrize("value", [0, -1, True, "3", float("nan"), limits.MAX_TIMEOUT_S + 1])
def test_timeout_that_is_none_is_refused_by_name(value: float) -> None:
    with pytest.raises(InvalidOption, match="timeout_s="):
        ConcurrencyLimiter().permit("a", value)


def test_host_that_cannot_be_a_key_is_refused_by_name() -> None:
    with pytest.raises(InvalidOption, match="host=list: give something hashable"):
        ConcurrencyLimiter().permit([])  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("options", [{"wait_s": -1}, {"wait_s": True}, {"wait_s": None}, {"cancel": 1}])
def test_wrong_argument_of_close_is_refused_by_name_and_closes_nothing(options: dict[str, Any]) -> None:
    limiter = ConcurrencyLimiter()
    with pytest.raises(InvalidOption, match=f"{next(iter(options))}="):
        limiter.close(**options)
    with limiter.permit("a"):
        pass


@pytest.mark.parametrize(
    "host",
    ["user:secret@a", "a?key=secret", "a?mail=b@secret", OriginKey("http", "secret@a", 80), ("secret", 1), b"secret"],
)
def test_messages_show_no_credentials(host: Any) -> None:
    limiter = ConcurrencyLimiter(1, max_hosts=1)
    limiter.enter(host, Noting())
    with pytest.raises(PoolTimeout) as timeout, limiter.permit(host, SOON_S):
        pass
    with pytest.raises(LimitError) as limit:
        limiter.enter((host, 2), Noting())
    assert "secret" not in str(timeout.value) + str(limit.value)


def test_ticket_does_nothing_by_itself() -> None:
    limiter = ConcurrencyLimiter(1)
    tickets = [Ticket() for _ in range(3)]
    for ticket in tickets:
        limiter.enter("a", ticket)
    limiter.leave(tickets[0])
    assert isinstance(limiter.permit("a"), Permit)
    assert limiter.close(cancel=True) == 1
