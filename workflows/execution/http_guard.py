"""Where an `http` task may connect to: the public internet, and inner services that are allowed by name or network.

The host is resolved once, every address of the answer is checked, and the connection goes to a checked address, so no
second answer of a name server can lead elsewhere. TLS still asks for the certificate of the host's name.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from requests_hardened import Config, HTTPSession  # type: ignore[import-untyped]
from requests_hardened.ip_filter import EXTRA_BLOCKED_NET_RANGES  # type: ignore[import-untyped]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
DENIED = (
    *EXTRA_BLOCKED_NET_RANGES,
    # The wire server of a large cloud: a public address that answers to every machine in it, with secrets.
    ipaddress.ip_network("168.63.129.16/32"),
)


class AddressRefused(requests.RequestException):
    """The address is none that an http task may connect to."""


def checked_address(host: str, port: int) -> Address:
    """The address to connect to. Raises AddressRefused where one of the host's addresses is not allowed, and OSError
    where it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [_plain(ipaddress.ip_address(str(entry[4][0]).partition("%")[0])) for entry in found]
    for address in addresses:
        if not _allowed(host, port, address):
            raise AddressRefused(
                f"{host} has the address {address}, which is not public. Name the host or its network in "
                "WORKFLOW_HTTP_ALLOW if this server may call it."
            )
    return addresses[0]


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _allowed(host: str, port: int, address: Address) -> bool:
    patterns = [_split(pattern) for pattern in settings.WORKFLOW_HTTP_ALLOW]
    chosen = [text for text, only in patterns if only in (None, port)]
    if any(address in network for network in map(_network, chosen) if network is not None):
        return True
    if address.is_multicast or address.is_link_local or address.is_unspecified:
        return False
    if any(fnmatch.fnmatchcase(host.lower(), text.lower()) for text in chosen if _network(text) is None):
        return True
    return address.is_global and not any(address in network for network in DENIED)


def _split(pattern: str) -> tuple[str, int | None]:
    """A pattern without its port, and the port: `host`, `host:port`, `10.0.0.0/8`, `[::1]:8080`."""
    text, colon, port = pattern.rpartition(":")
    if colon and port.isdigit() and (":" not in text or text.endswith("]")):
        return text.strip("[]"), int(port)
    return pattern.strip("[]"), None


def _network(text: str) -> Any:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


class GuardedAdapter(HTTPAdapter):
    """Connects to the checked address, and asks for the host by its name."""

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """What the connection is made from: the address for the host, the host's name for the certificate."""
        host_parameters, pool_parameters = super().build_connection_pool_key_attributes(request, verify, cert)
        host, secure = host_parameters["host"], host_parameters["scheme"] == "https"
        address = checked_address(host.strip("[]"), host_parameters["port"] or (443 if secure else 80))
        name = host if ":" not in host else f"[{host}]"
        port = host_parameters["port"]
        request.headers["Host"] = name if port is None else f"{name}:{port}"
        if secure:
            pool_parameters |= {"assert_hostname": host, "server_hostname": host}
        host_parameters["host"] = f"[{address}]" if address.version == 6 else str(address)
        return host_parameters, pool_parameters


def guarded_session(timeout: Sequence[float]) -> HTTPSession:
    """A session that follows no redirect, takes no proxy or password from its surroundings, and connects nowhere but
    where it may. `timeout` is (connect, read) in seconds."""
    connect, read = timeout
    configuration = Config(
        ip_filter_enable=False,  # in its place stands the adapter below, which knows what is allowed
        ip_filter_allow_loopback_ips=False,
        never_redirect=True,
        default_timeout=(connect, read),
        user_agent_override="workflow-server",
    )
    session = HTTPSession(configuration)
    session.trust_env = False
    session.adapters.clear()
    for scheme in ("http://", "https://"):
        session.mount(scheme, GuardedAdapter())
    return session
