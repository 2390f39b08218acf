"""For tests of programs that use turbosock: peers in memory, without a network. Nothing below imports this package.

Its names are imported when they are first asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turbosock.testing.cassettes.recorder import Recorder
    from turbosock.testing.faults.fault import Direction, Fault
    from turbosock.testing.faults.fault_transport import FaultTransport, MadeFault
else:
    _MODULES = {
        "Direction": "faults.fault",
        "Fault": "faults.fault",
        "FaultTransport": "faults.fault_transport",
        "MadeFault": "faults.fault_transport",
        "Recorder": "cassettes.recorder",
    }

    def __getattr__(name):
        import importlib

        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = found
        return found


__all__ = [
    "Direction",
    "Fault",
    "FaultTransport",
    "MadeFault",
    "Recorder",
]
