"""A signed POST to an address that somebody of a tenant gave us, and nowhere it must not go.

Signed as the specification Standard Webhooks (https://www.standardwebhooks.com) says, so receivers verify with its
libraries. The name is looked up once and the connection made to that very address: a name that answers a public
address first and a private one a moment later gains nothing. Redirects are not followed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import certifi
import orjson
import urllib3
from django.conf import settings
from urllib3.exceptions import HTTPError

from omarino.errors import HubError

CONNECT_S, READ_S = 3.0, 10.0
MOST_ANSWERED = 2_000  # bytes of an answer that are read
SECRET_PREFIX = "whsec_"  # noqa: S105  of the specification
HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class WebhookRefused(HubError):
    status = 422
    code = "webhook_refused"
    title = "Webhook refused"
    detail = "The webhook address is not taken: {reason}."


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt. status: of HTTP, None when nobody answered."""

    status: int | None
    told: str

    @property
    def was_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, message_id: str, sent_at: int, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over `id.seconds.body`."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.new(key, f"{message_id}.{sent_at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def check_address(url: str) -> SplitResult:
    """The parts of an address that may be posted to, as far as can be told without looking its name up."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as fault:
        raise WebhookRefused(reason="it cannot be read") from fault
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise WebhookRefused(reason="it must begin with https:// and name a host")
    if parts.scheme == "http" and not settings.WEBHOOK_PRIVATE_NETWORKS:
        raise WebhookRefused(reason="it must begin with https://")
    if parts.username or parts.password:
        raise WebhookRefused(reason="it holds a name or password; the signature says who sends")
    if parts.fragment or port == 0:
        raise WebhookRefused(reason="it holds a fragment or no usable port")
    address = _written_address(parts.hostname)
    if address is not None:
        _check_may_be_reached(address)
    elif not HOST_NAME.fullmatch(parts.hostname):  # a header of HTTP holds no other letters
        raise WebhookRefused(reason="its host is no name in ASCII; write others as xn--...")
    return parts


def _written_address(host: str) -> Address | None:
    """The address that a host is without being looked up: written as one, as one number, or this machine's own name.

    >>> [str(_written_address(host)) for host in ("10.0.0.1", "2130706433", "0x7f.1", "hub.localhost", "fe.example")]
    ['10.0.0.1', '127.0.0.1', '127.0.0.1', '127.0.0.1', 'None']
    """
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        if not HOST_NAME.fullmatch(name):
            return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name))  # as the look-up would read it
    except OSError:
        return None


def post(url: str, *, secret: str, message_id: str, sent_at: int, content: dict[str, Any]) -> Answer:
    """One attempt. What the network does is told in the answer, never raised."""
    body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
    try:
        parts = check_address(url)
        address = looked_up(parts)
    except WebhookRefused as refusal:
        return Answer(None, str(refusal))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {
        "Host": parts.netloc,
        "Content-Type": "application/json",
        "User-Agent": f"omarino-ai-hub/{settings.VERSION}",
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": signature(secret, message_id, sent_at, body),
    }
    try:
        with _pool(parts, address) as pool:
            answered = pool.urlopen(
                "POST",
                target,
                body=body,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            )
            answered.read(MOST_ANSWERED, decode_content=False)
            answered.close()
    except (HTTPError, OSError) as fault:
        return Answer(None, f"No answer: {type(fault).__name__}.")
    return Answer(answered.status, f"Answered {answered.status}.")


def _pool(parts: SplitResult, address: Address) -> urllib3.HTTPConnectionPool:
    host = str(address)
    if parts.scheme == "http":
        return urllib3.HTTPConnectionPool(host, parts.port or 80, maxsize=1)
    return urllib3.HTTPSConnectionPool(
        host,
        parts.port or 443,
        maxsize=1,
        cert_reqs="CERT_REQUIRED",
        ca_certs=settings.WEBHOOK_CA_BUNDLE or certifi.where(),
        assert_hostname=parts.hostname,
        server_hostname=parts.hostname,
    )


def looked_up(parts: SplitResult) -> Address:
    """The address to connect to; every one that the name stands for must be one that may be reached."""
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as fault:
        raise WebhookRefused(reason="its host name is not known") from fault
    addresses = [ipaddress.ip_address(entry[4][0]) for entry in found]
    for address in addresses:
        _check_may_be_reached(address)
    return addresses[0]


def _check_may_be_reached(address: Address) -> None:
    if any(address in network for network in settings.WEBHOOK_PRIVATE_NETWORKS):
        return
    if not _is_public(address):
        raise WebhookRefused(
            reason="its host is not on the public internet (an operator may allow a network in WEBHOOK_PRIVATE_NETWORKS)"
        )


def _is_public(address: Address) -> bool:
    """Whether a packet to it leaves the house: not private, local, multicast, nor an IPv4 address in disguise.

    >>> [_is_public(ipaddress.ip_address(a)) for a in ("8.8.8.8", "10.0.0.1", "169.254.169.254", "224.0.0.1")]
    [True, False, False, False]
    >>> [_is_public(ipaddress.ip_address(a)) for a in ("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::1")]
    [False, False, False, False]
    """
    if isinstance(address, ipaddress.IPv6Address):
        disguised = address.ipv4_mapped or address.sixtofour or address.teredo or address in NAT64
        if disguised:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
