"""AuditPlan: what is to be audited, and how; frozen, checked where it is made, and picklable, because children read it.

What a target is, its form says: `http://` and `https://` are requests, or with `events` a stream of server-sent events;
`ws://` and `wss://` are messages, each sent and then received, so that the server has to send back what it gets;
`module:function` is called without arguments, once a tick.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from typing import Final

from turbosock import limits
from turbosock.client.url import Url
from turbosock.config import Config, check_count
from turbosock.errors import InvalidOption
from turbosock.observe.hidden import shown_url

_CALLABLE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_SCHEMES: Final = {"ws": "http", "wss": "https", "ws+unix": "http+unix"}

# Who can perform the requests beside turbosock.
PEERS: Final = ("requests", "urllib3", "httpx2", "pycurl")


class Kind(enum.Enum):
    """What one unit is."""

    REQUEST = "request"
    MESSAGE = "message"
    EVENT = "event"
    TICK = "tick"


@dataclasses.dataclass(frozen=True, slots=True)
class AuditPlan:
    """One audit.

    Attributes:
        target: a URL, or `module:function`.
        in_flight: so many requests, WebSockets or streams at once in a ticking Loop; 0: one, in a blocking Client.
        events: the target is a stream of server-sent events, and a unit is one of them.
        message_bytes: of the binary messages that are sent to a WebSocket.
        warm_up: units that are performed before any is counted.
        count: units that are counted.
        growth_count: units whose memory is looked at for growth; None: ten times `count`.
        peer: who performs the requests: "turbosock", or one of PEERS.
        config: of the Client or Loop.

    Raises:
        InvalidOption: a value cannot work; it is named.
    """

    target: str
    in_flight: int = 0
    events: bool = False
    message_bytes: int = 32
    warm_up: int = limits.AUDIT_WARM_UP
    count: int = limits.AUDIT_COUNT
    growth_count: int | None = None
    peer: str = "turbosock"
    config: Config = dataclasses.field(default_factory=Config)

    def __post_init__(self) -> None:
        if not isinstance(self.target, str):
            raise InvalidOption(f"target: a {type(self.target).__name__} was given; give a URL or 'module:function'")
        if "://" in self.target:
            # Says itself what is wrong.
            Url(self.http_url)
        elif not _CALLABLE.fullmatch(self.target):
            raise InvalidOption("target: give a URL such as 'http://host/path', or 'module:function'")
        check_count("in_flight", self.in_flight, 0, limits.MAX_AUDIT_IN_FLIGHT)
        check_count("message_bytes", self.message_bytes, 0, limits.MAX_WEBSOCKET_MESSAGE_BYTES)
        check_count("warm_up", self.warm_up, 1, limits.MAX_AUDIT_COUNT)
        check_count("count", self.count, 1, limits.MAX_AUDIT_COUNT)
        if self.growth_count is None:
            grown = min(self.count * limits.AUDIT_GROWTH_FACTOR, limits.MAX_AUDIT_COUNT)
            object.__setattr__(self, "growth_count", grown)
        check_count("growth_count", self.growth_count, 1, limits.MAX_AUDIT_COUNT)
        if not isinstance(self.events, bool):
            raise InvalidOption(f"events={self.events!r}: give True or False")
        if not isinstance(self.config, Config):
            raise InvalidOption(f"config={self.config!r}: give a Config")
        if self.events and self._scheme not in ("http", "https", "http+unix"):
            raise InvalidOption("events: streams of events come over http or https; leave it out here")
        if self.in_flight and self.kind is Kind.TICK:
            raise InvalidOption("in_flight: a function is called, once a tick; leave it out")
        if self.peer != "turbosock":
            self._check_peer()

    def _check_peer(self) -> None:
        if self.peer not in PEERS:
            raise InvalidOption(f"peer={self.peer!r}: give one of {', '.join(PEERS)}")
        if self.kind is not Kind.REQUEST or self._scheme not in ("http", "https"):
            raise InvalidOption("peer: only requests over http and https are compared; give such a URL")
        if self.in_flight:
            raise InvalidOption("peer: requests are compared one after the other; leave in_flight out")

    @property
    def _scheme(self) -> str:
        return self.target.partition("://")[0].lower() if "://" in self.target else ""

    @property
    def http_url(self) -> str:
        """The target with the scheme of HTTP that it stands for."""
        scheme, separator, rest = self.target.partition("://")
        return _SCHEMES.get(scheme.lower(), scheme) + separator + rest

    @property
    def kind(self) -> Kind:
        """What one unit is."""
        if not self._scheme:
            return Kind.TICK
        if self._scheme in _SCHEMES:
            return Kind.MESSAGE
        return Kind.EVENT if self.events else Kind.REQUEST

    @property
    def shown(self) -> str:
        """The target without credentials."""
        return shown_url(self.target) if self._scheme else self.target

    @property
    def way(self) -> str:
        """Who performs it and how, in words."""
        if self.kind is Kind.TICK:
            return "called"
        if self.peer != "turbosock":
            return self.peer
        return f"turbosock, {self.in_flight} at once in a Loop" if self.in_flight else "turbosock, blocking"
