"""turbosock: synchronous, zero-copy networking. One engine; a thread may block on it, a tick may poll() it."""

from turbosock.client.client import CancelToken, Client
from turbosock.client.events import DataEvent, Event, EventKind
from turbosock.client.response import Response
from turbosock.client.ticking import Exchange
from turbosock.config import Config, PoolConfig, Timeouts, TransportMode
from turbosock.loop import Loop, PollResult, Stop
from turbosock.version import __version__

__all__ = [
    "CancelToken",
    "Client",
    "Config",
    "DataEvent",
    "Event",
    "EventKind",
    "Exchange",
    "Loop",
    "PollResult",
    "PoolConfig",
    "Response",
    "Stop",
    "Timeouts",
    "TransportMode",
    "__version__",
]
