"""turbosock: synchronous, zero-copy networking. One engine; a thread may block on it, a tick may poll() it."""

from turbosock.client.client import CancelToken, Client
from turbosock.client.response import Response
from turbosock.config import Config, PoolConfig, Timeouts, TransportMode
from turbosock.version import __version__

__all__ = [
    "CancelToken",
    "Client",
    "Config",
    "PoolConfig",
    "Response",
    "Timeouts",
    "TransportMode",
    "__version__",
]
