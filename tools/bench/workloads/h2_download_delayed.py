"""As `h2_download`, on a path that takes its time: what a window is worth that is too small for it."""

from __future__ import annotations

from task import Contestant
from workloads import h2_download

CONTESTANTS: dict[str, Contestant] = h2_download.CONTESTANTS
