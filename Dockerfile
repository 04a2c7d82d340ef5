# The service without its embedded servers: one image for the web server, the worker, beat and `manage.py prepare`.

FROM python:3.11-slim-bookworm AS packages
WORKDIR /build
# otel.txt holds the same and what sends traces
ARG REQUIREMENTS=production.txt
COPY requirements/${REQUIREMENTS} requirements.txt
RUN python -m venv /opt/hub \
    && /opt/hub/bin/pip install --no-cache-dir --require-hashes -r requirements.txt

FROM python:3.11-slim-bookworm
# LightGBM's wheel expects the libgomp of the system; its version is that of the base image's Debian release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin hub \
    && install -d -o hub -g hub /data
COPY --from=packages /opt/hub /opt/hub
COPY . /app
WORKDIR /app
ENV PATH=/opt/hub/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DATA_DIR=/data \
    PROMETHEUS_MULTIPROC_DIR=/data/metrics \
    STATIC_ROOT=/app/staticfiles
# Compiled and collected here, because the file system may be read-only where it runs. The secret that a development
# start makes for itself goes with its folder.
RUN python -m compileall -q . \
    && ENVIRONMENT=development DATA_DIR=/tmp/build PROMETHEUS_MULTIPROC_DIR='' python manage.py collectstatic --no-input --verbosity 0 \
    && rm -rf /tmp/build
ENV ENVIRONMENT=production
USER 10001:10001
EXPOSE 8003
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\") or 8003}/health', timeout=4)"]
CMD ["sh", "-c", "exec python -m granian --interface rsgi omarino.rsgi:application --host \"${HOST:-0.0.0.0}\" --port \"${PORT:-8003}\" --workers \"${WEB_PROCESSES:-2}\" --no-ws --log-config omarino/granian_logs.json --respawn-failed-workers"]
