"""Floor 8: the ticking face, in files that each have one part of it.

`loop` has the Loop and its turn, `work` what a turn does with what is ready; `requesting` and `listening` have what a
Loop can be asked for, `base` what it is made of. `mending` goes on after a call that broke off, `ending` closes what a
Loop owns or lets go of it in the child of a fork, `snapshot` counts it. What a turn returns is in `poll_result`, and
what the counts mean in `loop_stats`, beside this package.

What parts of a Loop share with each other stands on lower floors: its requests in `client.loop_requests`, its events in
`client.events`, its dials in `client.dials`, its messages in `connection.message_services`, and readiness, timers and
names in `reactor`.
"""

from __future__ import annotations

from turbosock.loop.loop import Loop

__all__ = ["Loop"]
