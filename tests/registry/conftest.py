from __future__ import annotations

import copy
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from registry.serving import CACHE

KEY, SECRET = "test-key", "test-secret"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Any) -> Path:
    """An empty storage of models for each test, and a process that has loaded none."""
    CACHE.clear()
    path = tmp_path / "models"
    kept = copy.deepcopy(settings.STORAGES)
    kept["models"] = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(path)},
    }
    settings.STORAGES = kept
    return path


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 service without a bucket, for this run."""
    data = tmp_path_factory.mktemp("seaweedfs")
    ports = _free_ports(4)
    names = ("-master.port", "-volume.port", "-filer.port", "-s3.port")
    command = [
        *(str(Path(sys.executable).with_name("weed")), "mini", f"-dir={data}", "-ip=127.0.0.1"),
        *("-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-master.telemetry=false", *(f"{name}={port}" for name, port in zip(names, ports, strict=True))),
    ]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=data
    )
    url = f"http://127.0.0.1:{ports[3]}"
    try:
        _wait_for(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def bucket(s3_server: str, settings: Any) -> Any:
    """The service with its models on S3, in a bucket that is not there yet."""
    name = f"models-{time.monotonic_ns()}"
    config = Config(
        signature_version="s3v4", s3={"addressing_style": "path"}, connect_timeout=3, read_timeout=10
    )
    kept = copy.deepcopy(settings.STORAGES)
    kept["models"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "endpoint_url": s3_server,
            "access_key": KEY,
            "secret_key": SECRET,
            "region_name": "us-east-1",
            "bucket_name": name,
            "location": "models",
            "file_overwrite": True,
            "client_config": config,
        },
    }
    settings.STORAGES = kept
    session = boto3.session.Session(KEY, SECRET, region_name="us-east-1")
    return session.resource("s3", endpoint_url=s3_server, config=config).Bucket(name)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    client = boto3.session.Session(KEY, SECRET, region_name="us-east-1").client(
        "s3", endpoint_url=url, config=Config(connect_timeout=1, retries={"total_max_attempts": 1})
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError("weed ended by itself")
        try:
            client.list_buckets()
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("weed does not answer")


def _free_ports(count: int) -> list[int]:
    """Ports whose neighbour 10,000 above is free as well: weed binds it too."""
    found: list[int] = []
    for port in range(21_000 + os.getpid() % 1000 * 10, 50_000):
        if len(found) == count:
            break
        if all(_is_free(number) for number in (port, port + 10_000)):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
