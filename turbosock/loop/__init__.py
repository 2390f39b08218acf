"""Floor 8: the ticking face, in files that each have one part of it.

`loop` has the Loop and its turn, `work` what a turn does with what is ready; `requesting` and `listening` have what a
Loop can be asked for, `base` what it is made of. `mending` goes on after a call that broke off, `ending` closes what a
Loop owns or lets go of it in the child of a fork, `snapshot` counts it. What is not the Loop's alone stands below: its
requests in `client.loop_requests`, its dials in `client.dials`, its messages in `connection.message_services`, and
readiness, timers and names in `reactor`.
"""

from __future__ import annotations

from turbosock.loop.loop import Loop

__all__ = ["Loop"]
