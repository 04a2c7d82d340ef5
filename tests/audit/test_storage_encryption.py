"""Files to S3 over TLS, held to an authority of our own, kept encrypted there: against a real S3 service."""

from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.conf import settings
from django.core.checks import run_checks

from tests.registry.conftest import KEY, SECRET, _free_ports

BUCKET = "ml-models"
SCRIPT = textwrap.dedent(
    """
    import os
    os.environ["DJANGO_SETTINGS_MODULE"] = "omarino.settings"
    import django
    django.setup()
    from django.core.files.base import ContentFile
    from django.core.files.storage import storages
    for name in ("models", "exports", "default"):
        storages[name].save("alpha/a.bin", ContentFile(b"kept" * 1000))
        with storages[name].open("alpha/a.bin") as file:
            assert file.read() == b"kept" * 1000
    """
)


@dataclass(frozen=True)
class Service:
    url: str
    authority: Path
    client: Any


def make_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of the tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    return paths


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("seaweedfs")
    certificate, key = make_certificate(folder)
    ports = _free_ports(5)
    names = ("-master.port", "-volume.port", "-filer.port", "-s3.port", "-s3.port.https")
    command = [
        *(str(Path(sys.executable).with_name("weed")), "mini", f"-dir={folder}", f"-bucket={BUCKET}"),
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0"),
        *("-s3.port.lance=0", "-master.telemetry=false"),
        *(f"-s3.cert.file={certificate}", f"-s3.key.file={key}"),
        *(f"{name}={port}" for name, port in zip(names, ports, strict=True)),
    ]
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "WEED_S3_SSE_KEK": "ab" * 32}
    process = subprocess.Popen(
        command, env={**os.environ, **keys}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    )
    url = f"https://127.0.0.1:{ports[4]}"
    once = Config(connect_timeout=1, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    session = boto3.session.Session(KEY, SECRET, region_name="us-east-1")
    client = session.client("s3", endpoint_url=url, verify=str(certificate), config=once)
    try:
        for _ in range(300):
            try:
                client.head_bucket(Bucket=BUCKET)
                break
            except (BotoCoreError, ClientError):
                assert process.poll() is None
                time.sleep(0.2)
        yield Service(url, certificate, client)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def save_and_read(service: Service, data_dir: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    about = {"MINIO_ENDPOINT_URL": service.url, "MINIO_ACCESS_KEY": KEY, "MINIO_SECRET_KEY": SECRET}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        env={**kept, **about, "DATA_DIR": str(data_dir), "MODEL_STORAGE_BUCKET": BUCKET, **variables},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_objects_travel_over_tls_and_are_kept_encrypted(service: Service, tmp_path: Path) -> None:
    done = save_and_read(
        service, tmp_path, S3_CA_BUNDLE=str(service.authority), S3_SERVER_SIDE_ENCRYPTION="AES256"
    )

    assert done.returncode == 0, done.stderr
    for prefix in ("models", "exports", "files"):
        kept = service.client.head_object(Bucket=BUCKET, Key=f"{prefix}/alpha/a.bin")
        assert kept["ServerSideEncryption"] == "AES256"


def test_an_endpoint_of_an_unknown_authority_is_not_talked_to(service: Service, tmp_path: Path) -> None:
    done = save_and_read(service, tmp_path)

    assert done.returncode == 1
    assert "SSL validation failed" in done.stderr
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"S3_SERVER_SIDE_ENCRYPTION": "rot13"}, "must be one of AES256, aws:kms"),
        ({"S3_KMS_KEY_ID": "key-1"}, "S3_KMS_KEY_ID needs S3_SERVER_SIDE_ENCRYPTION=aws:kms"),
        ({"S3_CA_BUNDLE": "/no/such/file"}, "there is no file /no/such/file"),
    ],
)
def test_settings_that_do_not_fit_are_refused_at_the_start(
    service: Service, tmp_path: Path, variables: dict[str, str], problem: str
) -> None:
    done = save_and_read(service, tmp_path, **variables)

    assert done.returncode == 1
    assert problem in done.stderr


@pytest.mark.parametrize(
    ("url", "development", "warned"),
    [
        ("http://s3.example.org", False, True),
        ("http://s3.example.org", True, False),
        ("https://s3.example.org", False, False),
        ("", False, False),
    ],
)
def test_an_unencrypted_endpoint_is_warned_of_outside_development(
    settings: Any, url: str, development: bool, warned: bool
) -> None:
    settings.MINIO_ENDPOINT_URL, settings.DEVELOPMENT = url, development

    assert ("omarino.W002" in {message.id for message in run_checks()}) is warned
