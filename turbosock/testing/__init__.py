"""For tests of programs that use turbosock: peers in memory, without a network. Nothing else imports this package."""

from turbosock.testing.cassettes.recorder import Recorder

__all__ = ["Recorder"]
