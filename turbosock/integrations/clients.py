"""ClientSet: a Client for each way of TLS that a library asks for by the request.

A Client has one TLS configuration, so that no connection of one is ever used under another (CVE-2024-35195). Libraries
that take `verify` and `cert` with each request get a Client for each pair of them, made when it is first asked for.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.client.client import Client
from turbosock.config import Config, TlsConfig, check_config
from turbosock.errors import InvalidOption
from turbosock.forks import renewed_in_child

if TYPE_CHECKING:
    from turbosock.transport.connector import Connector, Wrapper

Verify = bool | str
Cert = str | tuple[str, ...]
_Key = tuple[Verify, Cert | None, str | None]


class ClientSet:
    """Clients of one configuration, but for what they trust and show; safe to share between threads.

    At most MAX_INTEGRATION_CLIENTS: the one that was not asked for the longest is closed for another.

    Args:
        config: of all of them.
        connector: as of a Client.

    Raises:
        InvalidOption: an argument is something else.
    """

    __slots__ = ("__weakref__", "_clients", "_connector", "_lock", "_retired", "config")

    def __init__(self, config: Config, connector: Connector | Wrapper | None = None) -> None:
        check_config(config)
        self.config = config
        self._connector = connector
        self._clients: OrderedDict[_Key, Client] = OrderedDict()
        # Those that are closed as soon as nothing of them is in use.
        self._retired: list[Client] = []
        self.renew_lock()
        _sets.add(self)

    def renew_lock(self) -> None:
        """A lock that nobody holds: at the beginning, and in the child of a fork."""
        # A collection may end a response, and come to `leave`, while this thread has it.
        self._lock = threading.RLock()

    def client(self, verify: Verify = True, cert: Cert | None = None, server_name: str | None = None) -> Client:
        """The client for a way of TLS.

        Args:
            verify: True: as the configuration says; False: nobody is verified; a str: the file or directory with the
                authorities to trust, and no others.
            cert: the file of the certificate to show, or that and the file of its key; None: as the configuration says.
            server_name: whose certificate is asked for, and verified; None: as the configuration says.

        Raises:
            InvalidOption: an argument is something else, or contradicts the configuration.
        """
        key = (verify, cert, server_name)
        try:
            # Each step is a whole one, whatever other threads do between them.
            client = self._clients[key]
            self._clients.move_to_end(key)
        except KeyError:
            return self._made(key)
        except TypeError as error:
            name = "cert" if type(verify).__hash__ else "verify"
            raise InvalidOption(f"{name}: give a path as a str, or a pair of them as a tuple") from error
        return client

    def _made(self, key: _Key) -> Client:
        with self._lock:
            client = self._clients.get(key)
            if client is None:
                config = self.config
                tls = tls_of(config.tls, *key)
                if tls is not config.tls:
                    config = replace(config, tls=tls)
                client = Client(config, connector=self._connector, redirects=None, cookies=False)
                self._clients[key] = client
                if len(self._clients) > limits.MAX_INTEGRATION_CLIENTS:
                    self._retire(self._clients.popitem(last=False)[1])
            return client

    def _retire(self, client: Client) -> None:
        if not client.retire():
            self._retired.append(client)

    def leave(self) -> None:
        """A response has ended: it may have been the last one of a client that is to be closed."""
        if self._retired:
            with self._lock:
                self._retired = [client for client in self._retired if not client.retire()]

    def clear(self) -> None:
        """Close all of them, those with responses under way when these have ended; who asks again gets new ones."""
        with self._lock:
            clients = list(self._clients.values())
            self._clients.clear()
            for client in clients:
                self._retire(client)


_sets = renewed_in_child(ClientSet.renew_lock)


def tls_of(tls: TlsConfig, verify: Verify, cert: Cert | None, server_name: str | None) -> TlsConfig:
    """`tls` with what a library asks for; arguments and errors as of `ClientSet.client`."""
    if server_name is not None:
        tls = replace(tls, server_name=server_name)
    if verify is False:
        tls = replace(tls, verify=False, crl_files=())
    elif isinstance(verify, (str, os.PathLike)):
        path = os.fspath(verify)
        is_dir = os.path.isdir(path)
        tls = replace(
            tls,
            verify=True,
            ca_file=None if is_dir else path,
            ca_dir=path if is_dir else None,
            ca_data=None,
            add_to_system_roots=False,
        )
    elif verify is not True:
        raise InvalidOption(f"verify: a {type(verify).__name__} was given; give True, False, or a path of authorities")
    if cert is None:
        return tls
    if isinstance(cert, (str, os.PathLike)):
        return replace(tls, cert_file=cert, key_file=None, key_password=None)
    if not isinstance(cert, tuple) or len(cert) not in (2, 3):
        raise InvalidOption("cert: give the path of a file, or a tuple of it, its key's, and perhaps a password")
    return replace(tls, cert_file=cert[0], key_file=cert[1], key_password=cert[2] if len(cert) == 3 else None)
