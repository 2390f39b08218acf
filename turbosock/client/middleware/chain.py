"""Chain: the links around the exchanges of one Client or Loop, and the walk through them.

Which link is asked next, and which were entered and must be left, is an exchange's own state (`ChainedExchange`,
`ChainedResponse`); what is asked of a link, and what becomes of its exceptions, is here, once for both.

Invariant: a link whose `enter` was begun is left exactly once for it, whatever happens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.client.middleware.base import GO, NOT_AGAIN, Draft, Middleware
from turbosock.errors import InvalidOption, Origin, TurbosockError
from turbosock.logs import area

if TYPE_CHECKING:
    from turbosock.client.middleware.chained import Chained

_log = area("middleware")


class Chain:
    """An ordered chain of links.

    Args:
        links: first to last; the first is outermost.

    Attributes:
        links: all of them.
        standing: those that exchanges enter and leave.
        prepares: whether any link changes requests before they are serialised.
        answers, repeats: whether any link is told of answers, or may want another attempt.

    Raises:
        InvalidOption: `links` is not an iterable of Middleware, or too long.
    """

    __slots__ = ("_answering", "_preparing", "_repeating", "answers", "links", "prepares", "repeats", "standing")

    def __init__(self, links: Iterable[Middleware]) -> None:
        try:
            self.links = tuple(links)
        except TypeError as error:
            raise InvalidOption("middleware: give an iterable of Middleware objects") from error
        for link in self.links:
            if not isinstance(link, Middleware):
                what = type(link).__name__
                raise InvalidOption(f"middleware: a {what} is no Middleware; subclass turbosock.Middleware")
        if len(self.links) > limits.MAX_MIDDLEWARE:
            raise InvalidOption(f"middleware: {len(self.links)} links; give {limits.MAX_MIDDLEWARE} at most")
        # Links that leave a step as it is are not asked.
        self._preparing = tuple(link for link in self.links if type(link).prepare is not Middleware.prepare)
        self.prepares = bool(self._preparing)
        self._answering = tuple(link for link in self.links if type(link).answered is not Middleware.answered)
        standing: list[Middleware] = []
        # From the innermost on; each with the number of standing links that stay entered when it wants another attempt.
        repeating: list[tuple[int, Middleware]] = []
        for link in self.links:
            if type(link).enter is not Middleware.enter or type(link).leave is not Middleware.leave:
                standing.append(link)
            if type(link).again is not Middleware.again:
                repeating.insert(0, (len(standing), link))
        self.standing = tuple(standing)
        self._repeating = tuple(repeating)
        self.answers = bool(self._answering)
        self.repeats = bool(self._repeating)

    def prepare(self, draft: Draft) -> None:
        """Show the draft to every link that may change it."""
        for link in self._preparing:
            try:
                link.prepare(draft)
            except TurbosockError:
                raise
            except Exception as error:
                raise _failure(link, "prepare", error) from error

    def enter(self, index: int, exchange: Chained, now_ns: int) -> int:
        """What standing link `index` says to the exchange."""
        link = self.standing[index]
        try:
            due_ns = link.enter(exchange, now_ns)
            if due_ns != GO and not isinstance(due_ns, int):
                raise _wrong_answer(link, "enter", due_ns, "GO, a time in ns, or UNTIL_WOKEN")
            return due_ns
        except TurbosockError:
            raise
        except Exception as error:
            raise _failure(link, "enter", error) from error

    def answered(self, exchange: Chained) -> None:
        """Tell every link that the head came."""
        for link in self._answering:
            try:
                link.answered(exchange)
            except TurbosockError:
                raise
            except Exception as error:
                raise _failure(link, "answered", error) from error

    def again(self, exchange: Chained, now_ns: int) -> tuple[int, int] | None:
        """Ask for another attempt, the innermost link first.

        Returns:
            How many standing links stay entered, and the ns to wait before; or None, where no link wants one.
        """
        for kept, link in self._repeating:
            try:
                delay_ns = link.again(exchange, now_ns)
                if not isinstance(delay_ns, int) or delay_ns < NOT_AGAIN:
                    raise _wrong_answer(link, "again", delay_ns, "NOT_AGAIN, or how many ns to wait")
            except TurbosockError:
                raise
            except Exception as error:
                raise _failure(link, "again", error) from error
            if delay_ns != NOT_AGAIN:
                return kept, delay_ns
        return None

    def leave(self, index: int, exchange: Chained) -> None:
        """Let standing link `index` know that the exchange goes."""
        link = self.standing[index]
        try:
            link.leave(exchange)
        except Exception:
            _log.exception("%s.leave() failed; the exchange is over all the same", type(link).__name__)


def _wrong_answer(link: Middleware, step: str, answer: object, wanted: str) -> TurbosockError:
    return TurbosockError(
        f"{type(link).__name__}.{step}() returned {answer!r}: return {wanted}",
        origin=Origin.LOCAL,
        code="middleware_failed",
    )


def _failure(link: Middleware, step: str, error: Exception) -> TurbosockError:
    return TurbosockError(
        # Not what it says: a link that makes tokens may say them. The cause has it.
        f"{type(link).__name__}.{step}() raised {type(error).__name__}; mend the middleware, or take it out",
        origin=Origin.LOCAL,
        code="middleware_failed",
    )
