"""What holds for every test: the environment's proxies are not ours, in this process and in those that tests start."""

from __future__ import annotations

import os

for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)
