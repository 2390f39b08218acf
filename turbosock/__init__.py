"""turbosock: synchronous, zero-copy networking. One engine; a thread may block on it, a tick may poll() it."""

from turbosock.client.cancel_token import CancelToken
from turbosock.client.client import Client
from turbosock.client.events import DataEvent, Event, EventKind
from turbosock.client.loop_exchange import Exchange
from turbosock.client.response import Response
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
