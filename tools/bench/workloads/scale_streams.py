"""The contestants of `h2_multiplexed` that are fast enough, with as many requests in flight as are asked for.

turbosock has at most 128 streams open on a connection (`limits.MAX_HTTP2_STREAMS`); what is more waits in its queue.
"""

from __future__ import annotations

from task import Contestant
from workloads import h2_multiplexed

NAMES = ("turbosock loop", "pycurl multi", "h2load")
CONTESTANTS: dict[str, Contestant] = {name: h2_multiplexed.CONTESTANTS[name] for name in NAMES}
