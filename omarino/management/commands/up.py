"""`manage.py up`: the whole service on this machine, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from omarino import embedded
from omarino.authentication import development_token
from omarino.permissions import ROLES
from omarino.supervisor import AlreadyRunning, Supervisor, wait_for

START_PATIENCE_S = 180.0  # a busy machine takes a minute to import it all twice
MANAGE = [sys.executable, str(settings.BASE_DIR / "manage.py")]


class Command(BaseCommand):
    help = "Start the service: database and cache unless given, migrations, web server, worker and beat."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.asked_to_stop = threading.Event()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, lambda *_: self.asked_to_stop.set())
        try:
            supervisor = Supervisor(settings.DATA_DIR)
        except AlreadyRunning as other:
            raise CommandError(
                f"Another `up` (process {other}) serves from {settings.DATA_DIR}. Stop it, or set DATA_DIR and PORT."
            ) from other
        except OSError as fault:
            raise CommandError(f"DATA_DIR cannot be used: {fault}.") from fault
        try:
            self._serve(supervisor)
        except embedded.EmbeddedServerFailed as fault:
            raise CommandError(str(fault)) from fault
        finally:
            self._say("Stopping.")
            supervisor.stop()

    def _serve(self, supervisor: Supervisor) -> None:
        if fault := embedded.binding_fault(settings.PORT, settings.HOST):
            raise CommandError(
                f"Port {settings.PORT} of {settings.HOST} cannot be used: {fault}. Stop what listens there, or set PORT."
            )
        self._start_servers(supervisor)
        self._say("Preparing the database.")
        prepared = supervisor.finishes([*MANAGE, "prepare", "--demo"], unless=self.asked_to_stop.is_set)
        if self.asked_to_stop.is_set():
            return
        if not prepared:
            raise CommandError("The database could not be prepared; the reason stands above.")
        self._count_anew()
        for name, command in self._commands().items():
            supervisor.start(name, command, folder=settings.BASE_DIR)
        if not wait_for(lambda: self._is_up() or self._is_over(supervisor), patience_s=START_PATIENCE_S):
            raise CommandError(
                f"The web server does not answer. Its last lines:\n{supervisor.log_tail('web')}"
            )
        if not self._is_over(supervisor):
            self._greet()
        if ended := supervisor.dead():
            raise CommandError(f"{ended} ended by itself. Its last lines:\n{supervisor.log_tail(ended)}")
        while not self.asked_to_stop.wait(0.5):
            for name, code in supervisor.revive():
                how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
                self._say(
                    f"{name} {how} and is started again. Its last lines:\n{supervisor.log_tail(name, 5)}"
                )

    def _start_servers(self, supervisor: Supervisor) -> None:
        if not (settings.DATABASE_IS_EMBEDDED or settings.REDIS_IS_EMBEDDED):
            return
        services = embedded.with_free_ports(settings.DATA_DIR)
        if settings.DATABASE_IS_EMBEDDED:
            self._say("Starting PostgreSQL.")
            again = partial(embedded.launch_postgres, settings.DATA_DIR, services)
            adopt = supervisor.adopt_server("postgres", again)
            embedded.start_postgres(settings.DATA_DIR, services, adopt)
        if settings.REDIS_IS_EMBEDDED:
            self._say("Starting Valkey.")
            adopt = supervisor.adopt_server("valkey", partial(embedded.launch_valkey, settings.DATA_DIR))
            embedded.start_valkey(settings.DATA_DIR, services, adopt)

    def _count_anew(self) -> None:
        """One folder for the counters of all processes; those of an earlier start mean nothing any more."""
        folder = Path(settings.METRICS_DIR or settings.DATA_DIR / "metrics")
        for file in folder.glob("*.db"):
            file.unlink()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)

    def _commands(self) -> dict[str, list[str]]:
        celery = [sys.executable, "-m", "celery", "--quiet", "-A", "omarino.celery"]
        level = settings.LOG_LEVEL.lower()
        return {
            "web": [
                *(sys.executable, "-m", "granian", "--interface", "rsgi", "omarino.rsgi:application"),
                *("--host", settings.HOST, "--port", str(settings.PORT)),
                *("--workers", str(settings.WEB_PROCESSES), "--no-ws"),
                *(
                    "--log-level",
                    level,
                    "--log-config",
                    str(settings.BASE_DIR / "omarino" / "granian_logs.json"),
                ),
                "--respawn-failed-workers",
            ],
            "worker": [
                *celery,
                "worker",
                "--loglevel",
                level,
                *("--concurrency", str(settings.WORKER_PROCESSES)),
            ],
            "beat": [
                *celery,
                "beat",
                "--loglevel",
                level,
                *("--schedule", str(settings.DATA_DIR / "beat-schedule"), "--pidfile="),
            ],
        }

    def _address(self) -> str:
        host = "127.0.0.1" if settings.HOST in ("0.0.0.0", "::") else settings.HOST  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{settings.PORT}"

    def _is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._address()}/health", timeout=2) as answer:  # noqa: S310  our own address
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _is_over(self, supervisor: Supervisor) -> bool:
        return self.asked_to_stop.is_set() or supervisor.dead() is not None

    def _greet(self) -> None:
        address = self._address()
        lines = [
            "",
            f"OMARINO AI Hub answers at {address}",
            f"  API documentation  {address}/docs",
            f"  pages              {address}/admin/",
            f"  logs               {settings.DATA_DIR / 'logs'}",
        ]
        if settings.DEVELOPMENT_ISSUER:
            token = development_token(tenant_id="demo", roles=ROLES, ttl=timedelta(hours=12))
            body = self._first_question()
            lines += [
                f"  sign in as         admin / {settings.DEVELOPMENT_ADMIN_PASSWORD}",
                "",
                "A token for the tenant demo, good for twelve hours (`manage.py token` prints more):",
                "",
                token,
                "",
                "A first forecast of the sample site; paste it:",
                "",
                f"curl -s {address}/ai/forecast -H 'Content-Type: application/json' "
                f"-H 'Authorization: Bearer {token}' -d '{body}'",
                "",
            ]
        lines.append("Ctrl-C stops it.")
        self._say("\n".join(lines))

    def _first_question(self) -> str:
        site = json.loads((settings.BASE_DIR / "sample_data" / "site.json").read_text())
        asset = site["assets"][0]
        return json.dumps(
            {"tenant_id": site["tenant"], "asset_id": asset["asset_id"], "forecast_type": asset["kind"]}
        )

    def _say(self, text: str) -> None:
        with suppress(OSError):  # the terminal may be gone; what runs must still be stopped in order
            self.stdout.write(text)
            self.stdout.flush()
