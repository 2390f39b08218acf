"""The contestants of `http1_threads`, but for those who would be too slow to tell anything."""

from __future__ import annotations

from task import Contestant
from workloads import http1_threads

NAMES = ("bare", "turbosock get", "pycurl", "urllib3")
CONTESTANTS: dict[str, Contestant] = {name: http1_threads.CONTESTANTS[name] for name in NAMES}
