"""`manage.py describe_settings`: docs/configuration.md, from the settings as they are read."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from omarino.env import Variable

HEAD = """\
# Configuration

Every setting is an environment variable, read once at start by `omarino/settings/`. An empty value counts as
unset. When variables are wrong the service does not start, and names all of them at once. `make up` also reads the
file `.env` beside the Makefile; `.env.example` is one with every variable in it.

This page is written by `make configuration`; its words stand in `omarino/settings/` and
`omarino/management/commands/describe_settings.py`.

## Servers

| Part | Development, nothing set | Elsewhere |
|---|---|---|
| PostgreSQL 15 or newer | started by `manage.py up` from a wheel, data in `DATA_DIR` | `DATABASE_URL`; TimescaleDB is used when the server has it |
| Cache | a Valkey started by `manage.py up` | Redis or Valkey at `REDIS_HOST`, `maxmemory-policy allkeys-lru` |
| Queue | the same Valkey | `CELERY_BROKER_URL`: a server of its own, `maxmemory-policy noeviction`, `appendonly yes` |
| Files | folders in `DATA_DIR` | any S3 service at `MINIO_ENDPOINT_URL`; the bucket must exist |
| Identity | the service's own issuer, `manage.py token` | Keycloak at `KEYCLOAK_URL` |

Cache and queue want opposite things of a full server. A cache forgets its oldest entries and goes on. A queue that
forgets loses work: so it must refuse instead (`noeviction`), and keep what it took over a restart (`appendonly`).
One policy holds for a whole server, so database numbers do not separate the two. Without `CELERY_BROKER_URL` the
queue is database `REDIS_DB` + 1 of the cache's server; then give that server `noeviction` and room enough.

## The role of the database

The service connects as a role that owns its database and is **neither superuser nor BYPASSRLS**: such a role would
pass the row-level security that keeps tenants apart. `manage.py prepare` refuses one outside development
(`omarino.E001`). Only a superuser may install TimescaleDB, so that is done once, before the first start:

```sql
CREATE ROLE omarino LOGIN PASSWORD '...' NOSUPERUSER NOBYPASSRLS;
CREATE DATABASE omarino OWNER omarino;
\\connect omarino
CREATE EXTENSION IF NOT EXISTS timescaledb;  -- where the server has it
```

`docker/database/10-role.sh` does the same for `docker-compose.yml`.

## Behind a proxy

Outside development the service expects a proxy in front of it that ends TLS and sets `X-Forwarded-Proto` itself,
whatever the client sent. Plain HTTP is redirected, except for the health probes. `ALLOWED_HOSTS` holds the names
that people use **and** the one that the probe uses (`127.0.0.1` for the container's own).

Every deployment runs `manage.py prepare` once before the new version serves: migrations, static files, the roles.
Running it again changes nothing.

## In containers

`Dockerfile` makes one image for the web server, the worker, beat and `prepare`: no embedded servers, user 10001, static
files inside, able to run on a read-only file system. `docker-compose.yml` puts TimescaleDB, a cache, a queue and MinIO
around it, and asks for every secret; Keycloak stays yours.

```sh
cp docker/.env.example docker/.env   # and fill it in
docker compose --env-file docker/.env up --detach --build
```

Checked so far: the Dockerfile by hadolint, the compose file by its schema and against `docker/.env.example`, the
processes by starting them from the image's lock under an account without rights, the scripts for database and Redis on
PostgreSQL 18 and Valkey 9. **Not yet: no image was built and no container started**, as no Docker engine was at hand.

MinIO's images are the last that were published, in September 2025; its project gives out source only since. Any other
S3 service does: set `MINIO_ENDPOINT_URL` in the compose file and leave `minio` and `bucket` out.

## Variables

*None* in the column of defaults means unset.
"""


class Command(BaseCommand):
    help = "Print docs/configuration.md, or with --names the names of all variables."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--names", action="store_true", help="only the names, one a line")

    def handle(self, *args: Any, **options: Any) -> None:
        variables: tuple[Variable, ...] = settings.VARIABLES
        if options["names"]:
            self.stdout.write("\n".join(variable.name for variable in variables))
            return
        parts = [HEAD]
        for group, members in groupby(variables, key=lambda variable: variable.group):
            rows = "".join(_row(variable) for variable in members)
            parts.append(f"\n### {group}\n\n| Variable | Default | Meaning |\n|---|---|---|\n{rows}")
        self.stdout.write("".join(parts), ending="")


def _row(variable: Variable) -> str:
    default = variable.default or "*None*"
    if variable.default and " " not in default:
        default = f"`{default}`"
    return f"| `{variable.name}` | {default} | {variable.meaning} |\n"
