"""For tests of programs that use turbosock: answers, networks, cassettes, faults. Nothing below imports this package.

Its names are imported when they are first asked for: the fixtures are loaded by every run of pytest.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turbosock.testing.answer import Answer, Closes, Expects, Sends, Waits
    from turbosock.testing.cassettes.recorder import Recorder
    from turbosock.testing.faults.fault import Direction, Fault
    from turbosock.testing.faults.fault_transport import FaultTransport, MadeFault
    from turbosock.testing.leak_tracking import LeakTracker, LeakTrackingPool, OutstandingLease
    from turbosock.testing.mock_request import MockRequest
    from turbosock.testing.mock_transport import MockTransport
    from turbosock.testing.network import Network
    from turbosock.testing.route import Route
    from turbosock.testing.virtual_clock import VirtualClock
else:
    _MODULES = {
        "Answer": "answer",
        "Closes": "answer",
        "Direction": "faults.fault",
        "Expects": "answer",
        "Fault": "faults.fault",
        "FaultTransport": "faults.fault_transport",
        "LeakTracker": "leak_tracking",
        "LeakTrackingPool": "leak_tracking",
        "MadeFault": "faults.fault_transport",
        "MockRequest": "mock_request",
        "MockTransport": "mock_transport",
        "Network": "network",
        "OutstandingLease": "leak_tracking",
        "Recorder": "cassettes.recorder",
        "Route": "route",
        "Sends": "answer",
        "VirtualClock": "virtual_clock",
        "Waits": "answer",
    }

    def __getattr__(name):
        import importlib

        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = found
        return found


__all__ = [
    "Answer",
    "Closes",
    "Direction",
    "Expects",
    "Fault",
    "FaultTransport",
    "LeakTracker",
    "LeakTrackingPool",
    "MadeFault",
    "MockRequest",
    "MockTransport",
    "Network",
    "OutstandingLease",
    "Recorder",
    "Route",
    "Sends",
    "VirtualClock",
    "Waits",
]
