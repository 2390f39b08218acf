"""Flow: one request on its way through redirects, challenges and retries.

Both faces drive it alike: `after()` an answer's head, or a failure without one, says which request comes next and how
long to wait before it, or None where what there is stands. Then the driver lets the answer go and sends that request.
Nothing is sent, read or waited for here.

The order of what is asked: the answer's cookies are kept; a challenge is answered; a redirect is followed; another
attempt is made. A request that needs none of this, on a client that keeps none of it, has a Flow only once an answer
asks for one.

Invariants: credentials and cookies that were given for the request leave with the first origin and never come back
(`redirects.py`); the body is at its beginning again where the next request has one; `limits` bound the hops of each
kind, and the one deadline of the request all of them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from turbosock.client.auth.authorizer import Authorizer
from turbosock.client.auth.base import Auth, AuthRequest
from turbosock.client.past_answer import PastAnswer
from turbosock.client.redirects import Redirect, Visit, follow, location_of
from turbosock.client.retries import NOT_AGAIN
from turbosock.errors import Origin, TurbosockError
from turbosock.logs import area
from turbosock.reactor.clock import NS_PER_S

if TYPE_CHECKING:
    from turbosock.client.cookies import CookiePairs
    from turbosock.client.request import PreparedRequest
    from turbosock.client.routes import Routes
    from turbosock.client.session import Session
    from turbosock.client.url import Url
    from turbosock.connection.source import BodySource
    from turbosock.protocol.http1.head import ResponseHead

_log = area("client")


class Hop(NamedTuple):
    """What comes next, and the ns to wait before it: a request, or None for another attempt at the present one."""

    prepared: PreparedRequest | None
    delay_ns: int


class Flow:
    """See the module.

    Args:
        session: what the client keeps between requests.
        source: the body, or None.
        auth: answers for the credentials; None: the URL's own, or none.
        cookies: the request's own.
        follows: whether redirects are followed.
        routes: which way its connections go, if not the usual way.

    Attributes:
        history: the answers before the present one, but for those that a retry replaced.
        source: the body of the present request, or None.
    """

    __slots__ = (
        "_attempts",
        "_auth",
        "_authorizer",
        "_cookies",
        "_follows",
        "_routes",
        "_same_origin",
        "_seen",
        "_session",
        "history",
        "source",
    )

    def __init__(
        self,
        session: Session,
        source: BodySource | None = None,
        auth: Auth | None = None,
        cookies: CookiePairs = (),
        follows: bool | None = None,
        routes: Routes | None = None,
    ) -> None:
        self._session = session
        self.source = source
        self._auth = auth
        self._cookies = cookies
        self._follows = session.follows if follows is None else follows
        self._routes = routes
        self._authorizer: Authorizer | None = None
        self._same_origin = True
        self._seen: tuple[Visit, ...] = ()
        self._attempts = 1
        self.history: tuple[PastAnswer, ...] = ()
        if session.retries is not None:
            session.retries.begin()

    # What a request is prepared with

    def authorization(self, method: str, url: Url) -> str | None:
        """See `request.Secrets`."""
        self._authorizer = None
        if self._auth is None or not self._same_origin:
            return None
        key = url.key
        source = self.source
        body = b"" if source is None else source.whole
        origin = (key.scheme, key.host, key.port)
        self._authorizer = Authorizer(self._auth, AuthRequest(origin, method, url.target, body))
        try:
            return self._authorizer.first()
        except TurbosockError:
            raise
        except Exception as error:
            raise _auth_failed(self._auth, error) from error

    def cookie(self, url: Url) -> str | None:
        """See `request.Secrets`."""
        return self._session.cookie_for(url, self._cookies if self._same_origin else ())

    # What comes next

    def after(
        self,
        prepared: PreparedRequest,
        head: ResponseHead | None,
        failure: TurbosockError | None,
        now_ns: int,
        deadline_ns: int,
    ) -> Hop | None:
        """The request that comes after this one; None: its outcome stands.

        Args:
            head: of the answer, or None where it failed before one.
            failure: what failed it then.
            now_ns, deadline_ns: the present time, and when the request must have ended.

        Raises:
            RedirectError, TooManyRedirects: the answer is a redirect that cannot be followed.
            TurbosockError: the body cannot be sent again, or the Auth failed; its code is then "auth_failed".
        """
        hop = None
        try:
            if head is not None:
                if head.headers.count(b"set-cookie"):
                    self._session.keep_cookies(prepared.url, head.headers)
                hop = self._after_challenge(prepared, head)
                if hop is None and self._follows:
                    hop = self._after_redirect(prepared, head)
            if hop is None:
                hop = self._after_retry(prepared, head, failure, now_ns, deadline_ns)
            if hop is not None and self.source is not None:
                self.source.replay()
        except BaseException:
            self.source = None
            raise
        if hop is None:
            # An answer may be kept for long, and what was sent for it is the user's.
            self.source = None
        return hop

    def _after_challenge(self, prepared: PreparedRequest, head: ResponseHead) -> Hop | None:
        authorizer = self._authorizer
        if authorizer is None:
            return None
        try:
            value = None
            if self._replayable:
                value = authorizer.again(head.status_code, head.headers)
            if value is None:
                authorizer.finish(head.status_code, head.headers)
                return None
        except TurbosockError:
            raise
        except Exception as error:
            assert self._auth is not None, "an Authorizer was made for it"
            raise _auth_failed(self._auth, error) from error
        self.history = (*self.history, PastAnswer(prepared, head))
        next_one = self._session.preparer.follow(
            prepared.method, prepared.url, prepared.fields, self, self.source, self._routes, value
        )
        return Hop(next_one, 0)

    def _after_redirect(self, prepared: PreparedRequest, head: ResponseHead) -> Hop | None:
        location = location_of(head.status_code, head.headers)
        if location is None:
            return None
        redirect = follow(
            self._session.redirects,
            prepared.method,
            prepared.url,
            prepared.fields,
            self.source,
            head.status_code,
            location,
            self._seen,
            fragment=prepared.url.fragment,
            upgrades=self._routes is not None and self._routes.upgrades,
        )
        return None if redirect is None else self._redirected(prepared, head, redirect)

    def _redirected(self, prepared: PreparedRequest, head: ResponseHead, redirect: Redirect) -> Hop:
        self.history = (*self.history, PastAnswer(prepared, head))
        self._seen = redirect.seen
        self._same_origin = redirect.same_origin
        redirect.url.fragment = redirect.fragment
        if self.source is not None and not redirect.keep_body:
            self.source.release()
            self.source = None
        next_one = self._session.preparer.follow(
            redirect.method, redirect.url, redirect.headers, self, self.source, self._routes
        )
        return Hop(next_one, 0)

    def _after_retry(
        self,
        prepared: PreparedRequest,
        head: ResponseHead | None,
        failure: TurbosockError | None,
        now_ns: int,
        deadline_ns: int,
    ) -> Hop | None:
        retries = self._session.retries
        if retries is None:
            return None
        outcome: TurbosockError | int
        if head is not None:
            outcome = head.status_code
        else:
            assert failure is not None, "an answer or a failure"
            outcome = failure
        delay_ns = retries.next(
            outcome,
            None if head is None else head.headers,
            attempt=self._attempts,
            idempotent=retries.policy.repeats(prepared.method),
            replayable=self._replayable,
            now_ns=now_ns,
            deadline_ns=deadline_ns,
        )
        if delay_ns == NOT_AGAIN:
            return None
        self._attempts += 1
        if _log.isEnabledFor(logging.INFO):
            reason = outcome.code if isinstance(outcome, TurbosockError) else str(outcome)
            url, delay_s = prepared.url.safe, delay_ns / NS_PER_S
            _log.info(
                "%s %s: %s, attempt %d in %.3f s",
                prepared.method,
                url,
                reason,
                self._attempts,
                delay_s,
                extra={
                    "method": prepared.method,
                    "url": url,
                    "error": reason,
                    "attempts": self._attempts,
                    "delay_s": delay_s,
                },
            )
        return Hop(None, delay_ns)

    def again(self, prepared: PreparedRequest) -> PreparedRequest:
        """Another attempt at this request, once its time has come.

        Made anew: a digest counts on, a token may have expired, and a refusal may have set a cookie.

        Raises:
            TurbosockError: the Auth failed, with the code "auth_failed".
        """
        return self._session.preparer.follow(
            prepared.method, prepared.url, prepared.fields, self, self.source, self._routes
        )

    @property
    def _replayable(self) -> bool:
        return self.source is None or self.source.replayable


def _auth_failed(auth: Auth, error: Exception) -> TurbosockError:
    # Not what it says: whoever makes tokens may say them. The cause has it.
    return TurbosockError(
        f"auth: {type(auth).__name__} raised {type(error).__name__}; mend it, or leave auth out",
        origin=Origin.LOCAL,
        code="auth_failed",
    )
