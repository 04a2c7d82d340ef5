#!/bin/sh
# start.sh CONFIG: redis-server with the password of REDISCLI_AUTH, which so stays out of the list of processes.
set -eu
umask 077
printf 'include %s\nrequirepass %s\n' "$1" "$REDISCLI_AUTH" >/tmp/redis.conf
exec redis-server /tmp/redis.conf
