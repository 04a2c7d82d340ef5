"""How often one may ask: a budget a minute for each subject and for its whole tenant, for light and for heavy routes.

The generic cell rate algorithm (GCRA, ITU-T I.371) in one script on Valkey, by Valkey's clock: exact however many
processes ask at once. A whole budget may be spent at once; then it comes back evenly. Who is refused spends nothing.
Requests without a good token are not counted here; see docs/adr/0015-rate-limits.md.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from redis.exceptions import NoScriptError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from omarino.authentication import Principal
from omarino.errors import HubError
from omarino.metrics import RATE_LIMITED, RATE_LIMITS_AWAY
from omarino.valkey import Door

WINDOW_S = 60
LIGHT, HEAVY = "light", "heavy"
READING = ("GET", "HEAD", "OPTIONS")
DOOR = Door("rate limits")

# KEYS: the budgets. ARGV: the window in microseconds, then the requests of each budget in a window. A key holds when its
# budget will be whole again, in microseconds since 2026 (since 1970 a double would not hold their fractions); that is
# never more than a window ahead, unless the clock was set back: by more than another window, and the budget counts as
# whole. Answers for each budget: what is left of it, microseconds until it is whole, and how long to wait where it is
# too little.
SCRIPT = """
local time = redis.call('TIME')
local now = (time[1] - 1767225600) * 1000000 + time[2]
local window = tonumber(ARGV[1])
local refused, whole, answer = false, {}, {}
for i, key in ipairs(KEYS) do
  local step = window / ARGV[i + 1]
  local at = math.max(tonumber(redis.call('GET', key) or '') or now, now)
  if at > now + 2 * window then at = now end
  local wait = at + step - window - now
  if wait > 0 then refused = true end
  whole[i] = {at, step, wait}
end
for i, key in ipairs(KEYS) do
  local at, step, wait = unpack(whole[i])
  if not refused then
    at = at + step
    redis.call('SET', key, string.format('%.3f', at), 'PX', math.ceil((at - now) / 1000) + 1)
  end
  answer[#answer + 1] = math.floor((window - (at - now)) / step + 0.000001)
  answer[#answer + 1] = math.ceil(at - now)
  answer[#answer + 1] = math.ceil(math.max(wait, 0))
end
return answer
"""
DIGEST = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()  # by which Valkey knows it


class RateLimited(HubError):
    status = 429
    code = "rate_limited"
    title = "Too many requests"
    detail = "Only {limit} requests in {window_s} s are answered to {whose}. Ask again in {retry_after_s} s."


@dataclass(frozen=True, slots=True)
class Budget:
    """`limit` requests in a window; `whose` as a refusal says it."""

    key: str
    limit: int
    whose: str


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left of a budget; wait_s: 0 when the request is let through."""

    budget: Budget
    remaining: int
    whole_in_s: int
    wait_s: int


def spend(budgets: Sequence[Budget], *, window_s: int = WINDOW_S) -> Balance | None:
    """Take one request from each budget, or none where one is empty; the balance of the scarcest. None while Valkey is
    away."""

    def question(valkey: Any) -> Any:
        given = [*(each.key for each in budgets), window_s * 1_000_000, *(each.limit for each in budgets)]
        try:
            return valkey.evalsha(DIGEST, len(budgets), *given)
        except NoScriptError:  # a new server, or one that was told to forget
            return valkey.eval(SCRIPT, len(budgets), *given)

    told = DOOR.ask(question)
    if told is None:
        return None
    balances = [
        Balance(budget, max(left, 0), math.ceil(whole_us / 1e6), math.ceil(wait_us / 1e6))
        for budget, left, whole_us, wait_us in zip(budgets, told[::3], told[1::3], told[2::3], strict=True)
    ]
    return min(balances, key=lambda balance: (-balance.wait_s, balance.remaining))


class RateLimit(BaseThrottle):
    """For every view; one whose verbs weigh otherwise than their method suggests says so by `throttle_scope`."""

    def allow_request(self, request: Request, view: Any) -> bool:
        if isinstance(request.auth, Principal):
            charge(request._request, request.auth, scope_of(str(request.method), view))
        return True


def charge(request: HttpRequest, who: Principal, scope: str) -> None:
    """Take the request from its budgets. Raises RateLimited."""
    request.is_charged = True  # type: ignore[attr-defined]
    limit = settings.RATE_LIMIT_HEAVY if scope == HEAVY else settings.RATE_LIMIT_LIGHT
    if limit == 0:
        return
    balance = spend(budgets_of(who, scope, limit))
    if balance is None:
        RATE_LIMITS_AWAY.inc()
        return
    request.rate_limit = balance  # type: ignore[attr-defined]
    if balance.wait_s:
        RATE_LIMITED.labels(scope).inc()
        raise RateLimited(
            limit=balance.budget.limit,
            window_s=WINDOW_S,
            whose=balance.budget.whose,
            retry_after_s=balance.wait_s,
        )


def charge_refusal(request: HttpRequest) -> None:
    """What is refused before a view looked at its budget costs a light one: REST framework asks for permission first,
    and each refusal is kept by the audit. Raises RateLimited."""
    who = getattr(request, "principal", None)
    if who is not None and not hasattr(request, "is_charged"):
        charge(request, who, LIGHT)


def scope_of(method: str, view: Any) -> str:
    """Reading is light; what makes or stores something is heavy, unless its view says that it is not."""
    said: str | None = getattr(view, "throttle_scope", None)
    return LIGHT if method in READING else said or HEAVY


def budgets_of(who: Principal, scope: str, limit: int) -> list[Budget]:
    """The subject's and the tenant's; in braces what a cluster of servers keeps on one of them."""
    subject = hashlib.blake2b(who.subject.encode(), digest_size=12).hexdigest()
    tenant = f"omarino:rate:{{{who.tenant_id}}}:{scope}"
    return [
        Budget(f"{tenant}:{subject}", limit, f"one subject on {scope} routes"),
        Budget(tenant, limit * settings.RATE_LIMIT_TENANT_FACTOR, f"one tenant on {scope} routes"),
    ]


class RateLimitHeaders:
    """Tells the caller of the scarcest budget, as draft-ietf-httpapi-ratelimit-headers-06 does."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        balance: Balance | None = getattr(request, "rate_limit", None)
        if balance is not None:
            limit = balance.budget.limit
            response.headers["RateLimit-Limit"] = str(limit)
            response.headers["RateLimit-Remaining"] = str(balance.remaining)
            response.headers["RateLimit-Reset"] = str(balance.whole_in_s)
            response.headers["RateLimit-Policy"] = f"{limit};w={WINDOW_S}"
        return response
