#!/bin/sh
# Run once, by the database's image, when its volume is empty: the superuser installs TimescaleDB, which nobody else
# may, and makes the role of the service, which is neither superuser nor passes row-level security.
set -eu
psql --no-psqlrc -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv password DATABASE_PASSWORD
CREATE ROLE omarino LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
CREATE DATABASE omarino OWNER omarino;
REVOKE ALL ON DATABASE omarino FROM PUBLIC;
\connect omarino
CREATE EXTENSION IF NOT EXISTS timescaledb;
SQL
