"""SecureThreadsLeg: the eight threads once more, over https, with a certificate that was made for this run."""

from __future__ import annotations

import dataclasses
from typing import Final

from turbosock.cli.demo.leg import CONFIG, Outcome, Stage
from turbosock.cli.demo.threads import THREADS, ThreadsLeg
from turbosock.config import Config, TlsConfig

NOTE: Final = (
    "https: TLS with a certificate that was made for this run. The client trusts its authority and no other, and "
    "checks chain and name as it does everywhere."
)


class SecureThreadsLeg(ThreadsLeg):
    """As ThreadsLeg, over https."""

    title = f"{THREADS} threads over https"

    def run(self, stage: Stage) -> Outcome:
        """See `Leg`."""
        return Outcome(super().run(stage).figures, (NOTE,))

    def target(self, stage: Stage) -> tuple[str, Config]:
        """What is asked for, and by which Client."""
        return stage.secure_url, dataclasses.replace(CONFIG, tls=TlsConfig(ca_data=stage.ca_pem))
