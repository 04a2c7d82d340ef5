"""All routes at once for some minutes: does it hold, and does it keep what it should have let go?

Starts the product as `make up` does, in a folder of its own; clients of several tenants ask what `mix.py` weighs, one
question after the other. Exit code 1: an answer 5xx other than 503, an answer that nobody expected, a failed long work,
an ERROR in the logs, or memory that grew beyond the bound.

    python -m benchmarks.soak --minutes 5 --clients 8 --write docs/benchmarks/soak.md
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import jwt  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.clients import ODD, Client, Counted, Tenant, set_up, trained  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from benchmarks.mix import FAMILIES  # noqa: E402
from benchmarks.resources import GROUPS, Meter, Sample, settled, slope  # noqa: E402
from benchmarks.stack import Stack  # noqa: E402
from omarino import embedded  # noqa: E402

TENANTS = 4
WARM = 1 / 3  # of the time: models are loaded, caches and pools fill
MOST_SHARE, MOST_MIB = 0.10, 40  # own memory may grow by so much after that, of each group
WORKS = ("feature_exports", "registry_trainingrun", "explanations_explanation")
DRAIN_S = 120.0


def tenant(folder: Path, like: str, number: int, artifact: bytes, valid_s: int) -> Tenant:
    """Its tokens are `like` that of `manage.py token`, signed with the same key."""
    name = f"soak-{number}"
    header, claims = jwt.get_unverified_header(like), jwt.decode(like, options={"verify_signature": False})
    claims |= {"tenant_id": name, "sub": name, "exp": int(time.time()) + valid_s}
    key = (folder / "development_issuer.pem").read_text()

    def token(roles: list[str]) -> str:
        return jwt.encode({**claims, "realm_access": {"roles": roles}}, key, header["alg"], header)

    return Tenant(name, token(claims["realm_access"]["roles"]), token(["ai_user"]), artifact)


def soak(folder: Path, minutes: float, count: int) -> tuple[str, list[str]]:
    """The report, and what is wrong."""
    stack = Stack(folder)
    with stack as first:
        like = first.headers["Authorization"].removeprefix("Bearer ")
        password = (folder / "admin_password").read_text()
        artifact, valid_s = trained(), int(minutes * 60) + 3600
        tenants = [tenant(folder, like, number, artifact, valid_s) for number in range(TENANTS)]
        clients = [
            Client(tenants[number % TENANTS], number, stack.address, password) for number in range(count)
        ]
        for client in clients[:TENANTS]:
            set_up(client)
        database_url = embedded.running_services(folder).database_url
        meter = Meter(stack.process.pid, database_url, lambda: sum(map(answered, clients)))
        began = time.monotonic()
        meter.sample()
        meter.start()
        ask_for(minutes * 60, clients)
        took = time.monotonic() - began
        drained = settled(lambda: not waiting(meter), DRAIN_S)
        meter.sample()
        works = ended(meter)
        meter.stop()
    errors = errors_in(folder / "logs")
    families = {name: together(name, clients) for name in FAMILIES}
    wrong = [*faults(families), *growth(meter.samples)]
    wrong += [] if drained else [f"Long works still waited {DRAIN_S:.0f} s afterwards."]
    wrong += [
        f"{count:,} long works of {kind} failed." for (kind, how), count in works.items() if how == "failed"
    ]
    wrong += [
        f"{count:,} ERROR lines `{event}` in the log of {log}." for (log, event), count in errors.items()
    ]
    return report(families, meter.samples, works, took, count), wrong


def ask_for(seconds: float, clients: list[Client]) -> None:
    over = threading.Event()
    threads = [threading.Thread(target=client.run, args=(FAMILIES, over)) for client in clients]
    for thread in threads:
        thread.start()
    over.wait(seconds)
    over.set()
    for thread in threads:
        thread.join()


def answered(client: Client) -> int:
    return sum(len(kept.milliseconds) for kept in list(client.counted.values()))


def together(name: str, clients: list[Client]) -> Counted:
    """A family as all clients met it."""
    found = Counted()
    for client in clients:
        if kept := client.counted.get(name):
            found.milliseconds += kept.milliseconds
            found.statuses += kept.statuses
            found.unexpected += kept.unexpected
    return found


def waiting(meter: Meter) -> int:
    return sum(count for (_, status), count in ended(meter).items() if status in ("pending", "processing"))


def ended(meter: Meter) -> dict[tuple[str, str], int]:
    found = {}
    for table in WORKS:
        for status, count in meter.question(f"SELECT status, count(*) FROM {table} GROUP BY 1"):  # noqa: S608
            found[table, str(status)] = int(str(count))
    return found


def errors_in(logs: Path) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for log in logs.glob("*.log"):
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                told = json.loads(line)
                if told.get("level") in ("ERROR", "CRITICAL") and told.get("status_code") != 503:
                    found[log.stem, str(told.get("event"))[:100]] += 1
            elif "Traceback" in line or "panicked" in line:
                found[log.stem, line[:100]] += 1
    return found


def faults(families: dict[str, Counted]) -> list[str]:
    return [
        f"{name}, {count} times: {text}"
        for name, kept in families.items()
        for text, count in kept.unexpected.items()
        if ": 503 " not in text
    ]


def growth(samples: list[Sample]) -> list[str]:
    warm = samples[int(len(samples) * WARM)]
    wrong = []
    for name in GROUPS:
        before, after = warm.groups[name].own, samples[-1].groups[name].own
        most = before * MOST_SHARE + MOST_MIB
        if after - before > most:
            wrong.append(
                f"{name} grew by {after - before:.0f} MiB after it was warm; {most:.0f} are allowed."
            )
    return wrong


def report(
    families: dict[str, Counted],
    samples: list[Sample],
    works: dict[tuple[str, str], int],
    took: float,
    count: int,
) -> str:
    total = sum(len(kept.milliseconds) for kept in families.values())
    works_told = ", ".join(f"{count:,} {kind} {how}" for (kind, how), count in sorted(works.items()))
    return "\n".join(
        [
            "# All routes at once",
            "",
            f"`make soak`, {datetime.now(UTC):%Y-%m-%d}, the cores shared with the clients. {machine()}. {count} clients of",
            f"{TENANTS} tenants, each asking one thing after the other, {took / 60:.1f} minutes: {total:,} requests, "
            f"**{total / took:.0f} a second**.",
            "",
            *latencies(families),
            "",
            f"Long works afterwards: {works_told}.",
            "",
            *memory(samples),
            "",
        ]
    )


def latencies(families: dict[str, Counted]) -> list[str]:
    lines = [
        "| Routes | requests | answers | unexpected | p50 ms | p95 ms | p99 ms |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for name, kept in families.items():
        if not kept.milliseconds:
            continue
        p50, p95, p99 = np.percentile(kept.milliseconds, [50, 95, 99])
        told = ", ".join(
            f"{'none' if status == ODD else status}: {number:,}"
            for status, number in sorted(kept.statuses.items())
        )
        lines.append(
            f"| {name} | {len(kept.milliseconds):,} | {told} | {kept.unexpected.total():,} "
            f"| {p50:.0f} | {p95:.0f} | {p99:.0f} |"
        )
    return lines


def memory(samples: list[Sample]) -> list[str]:
    warm = int(len(samples) * WARM)
    first, middle, last = samples[0], samples[warm], samples[-1]
    lines = [
        "| Processes | of them | resident MiB, start, end | own MiB, start, warm, end | own MiB for 1,000 requests | open files, start, end |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in GROUPS:
        a, b, c = (sample.groups[name] for sample in (first, middle, last))
        lines.append(
            f"| {name} | {c.processes} | {a.resident:.0f}, {c.resident:.0f} | {a.own:.0f}, {b.own:.0f}, {c.own:.0f} "
            f"| {slope(samples[warm:], name):+.2f} | {a.files}, {c.files} |"
        )
    return [
        *lines,
        "",
        f"Connections to the database: {first.connections} at the start, {max(s.connections for s in samples)} at most, "
        f"{last.connections} at the end. Own memory is what is neither shared nor mapped from files. Warm is after the",
        f"first third; from then on the slope is taken, and each group may grow by {MOST_SHARE:.0%} and {MOST_MIB} MiB.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--write", type=Path, help="a Markdown file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hub-soak-") as folder:
        text, wrong = soak(Path(folder), asked.minutes, max(asked.clients, TENANTS))
    text += (
        "\n".join(["Wrong:", "", *(f"- {each}" for each in wrong)] if wrong else ["Nothing was wrong."])
        + "\n"
    )
    print(text)
    if asked.write:
        asked.write.write_text(text)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
