"""TLS over a connected socket, or inside TLS (floor 3): one interface, two engines, the trust decisions between.

From the top down: `selector` chooses the engine, or one of the program's own, `provider` is what each of them offers,
`system` (ssl) and `openssl` (pyOpenSSL) are the two, `carrier` and `nested` let both work inside another session,
`trust`, `identity` and `certificate` decide alike for both, `sni` chooses a server's certificate, `failures` puts what
went wrong in words, `cache` remembers contexts and sessions, `ktls` asks the kernel, `selfsigned` makes certificates
for a demonstration.
Importing this package imports no engine.
"""

from turbosock.tls.provider import (
    DONE,
    WANTS_READ,
    WANTS_WRITE,
    TlsContext,
    TlsInfo,
    TlsProvider,
    TlsSession,
)
from turbosock.tls.selector import provider_for, use_providers
from turbosock.tls.trust import pin_of

__all__ = [
    "DONE",
    "WANTS_READ",
    "WANTS_WRITE",
    "TlsContext",
    "TlsInfo",
    "TlsProvider",
    "TlsSession",
    "pin_of",
    "provider_for",
    "use_providers",
]
