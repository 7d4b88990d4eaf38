"""Which S3 service to talk to, and whom never to talk to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from yololine.errors import UsageError, without_secrets

KUBEFLOW_STORES = (("seaweedfs.kubeflow", 9000), ("minio-service.kubeflow", 9000))
"""Object stores of a stock Kubeflow Pipelines installation, the newest release's first.

The launcher has the endpoint built in, and hands it to no step.
"""
_SERVICE_LINKS = (
    # Of seaweedfs' ports the first, which goes by SEAWEEDFS_SERVICE_PORT, is not the S3 API's.
    ("SEAWEEDFS_SERVICE_HOST", "SEAWEEDFS_SERVICE_PORT_HTTP_S3"),
    ("MINIO_SERVICE_SERVICE_HOST", "MINIO_SERVICE_SERVICE_PORT"),
)
"""Variables by which Kubernetes tells a pod of the same services in its own namespace.

For runs in the namespace that Kubeflow itself is installed in, whatever its name; the launcher
looks there first, too.
"""
KUBEFLOW_CONNECT_SECONDS = 3
AWS = "https://s3.amazonaws.com"

_METADATA_NAME = "metadata.google.internal"
_METADATA_NETWORKS = tuple(
    ipaddress.ip_network(network) for network in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254")
)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An S3 service; `reason` says, for a person, why it is this one."""

    host: str
    """Host, and port where it is not the scheme's own."""
    secure: bool
    reason: str

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address, not a name."""
        with suppress(ValueError):
            ipaddress.ip_address(str(urlsplit(f"//{self.host}").hostname))
            return True
        return False

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.host} ({self.reason})"


def find_endpoint(
    environ: Mapping[str, str], *, kubeflow_stores: Iterable[tuple[str, int]] = KUBEFLOW_STORES
) -> Endpoint:
    """The service named by the environment, else this cluster's Kubeflow store, else AWS.

    Raises:
        UsageError: The environment names no http(s) address, or one that is refused.
    """
    for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if url := environ.get(variable, "").strip():
            return _endpoint(url, variable)
    reason = "no AWS_ENDPOINT_URL is set"
    if environ.get("KUBERNETES_SERVICE_HOST"):
        for host, port in (*_linked_services(environ), *kubeflow_stores):
            if _accepts_connections(host, port):
                return Endpoint(
                    host=f"{host}:{port}",
                    secure=False,
                    reason=f"{reason}, and this cluster's Kubeflow store answers",
                )
        reason += ", and this cluster has no Kubeflow store that answers"
    return Endpoint(host=urlsplit(AWS).netloc, secure=True, reason=reason)


def refuse_metadata_host(host: str) -> None:
    """Raise UsageError for the addresses at which a cloud hands out a machine's credentials.

    Asked for an object there, a step would fetch those credentials as if they were data. Odd
    spellings of an address (decimal, hexadecimal, IPv4 in IPv6) are seen through.
    """
    name = host.rstrip(".").lower()
    refused = name == _METADATA_NAME
    with suppress(OSError, UnicodeError):
        numeric = socket.getaddrinfo(
            name.strip("[]"), None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
        refused = refused or any(_is_metadata_address(str(found[4][0])) for found in numeric)
    if refused:
        raise UsageError(
            host,
            rule="is a cloud's metadata address, which gives out credentials and holds no objects",
            remedy="name the object store",
        )


def _is_metadata_address(text: str) -> bool:
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in _METADATA_NETWORKS)


def _endpoint(url: str, variable: str) -> Endpoint:
    shown = f"{variable}={without_secrets(url)}"
    remedy = f"write {variable}=http://minio.example:9000, with your store's host and port"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(shown, rule="is no address", remedy=remedy) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(shown, rule="does not begin with http:// or https://", remedy=remedy)
    if "@" in parts.netloc:
        raise UsageError(
            shown,
            rule="holds a user or password, which would reach logs",
            remedy="give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(shown, rule="holds more than a host and a port", remedy=remedy)
    refuse_metadata_host(parts.hostname)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Endpoint(
        host=f"{host}:{port}" if port else host,
        secure=parts.scheme == "https",
        reason=f"from {variable}",
    )


def _linked_services(environ: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    for host, port in _SERVICE_LINKS:
        if environ.get(host) and environ.get(port, "").isdecimal():
            yield environ[host], int(environ[port])


def _accepts_connections(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=KUBEFLOW_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
