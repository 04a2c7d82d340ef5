"""Models, exports and static files: in a folder, or in a bucket when an endpoint is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from botocore.config import Config

from omarino import logs
from omarino.settings.service import BASE_DIR, DATA_DIR, env

env.group("Files")

MINIO_ENDPOINT_URL = env.url(
    "MINIO_ENDPOINT_URL",
    schemes=("http", "https"),
    meaning="S3 endpoint of models and exports; unset: local folders",
)
_s3_key = env.secret("MINIO_ACCESS_KEY", meaning="S3 key")
_s3_secret = env.secret("MINIO_SECRET_KEY", meaning="S3 secret")
_aws_key = env.secret("AWS_ACCESS_KEY_ID", meaning="The S3 key by its AWS name, when the one above is unset")
_aws_secret = env.secret("AWS_SECRET_ACCESS_KEY", meaning="The S3 secret by its AWS name, likewise")
AWS_REGION = env.text("AWS_REGION", default="us-east-1", meaning="S3 region")
S3_SERVER_SIDE_ENCRYPTION = env.text(
    "S3_SERVER_SIDE_ENCRYPTION",
    choices=("AES256", "aws:kms"),
    meaning="Asks the S3 service to keep objects encrypted, by its own key or by one of its key service",
)
S3_KMS_KEY_ID = env.text("S3_KMS_KEY_ID", meaning="Which key of the key service; unset, its default")
S3_CA_BUNDLE = env.text(
    "S3_CA_BUNDLE", meaning="File of the authorities that the S3 endpoint's certificate is held against"
)
env.require(
    not S3_KMS_KEY_ID or S3_SERVER_SIDE_ENCRYPTION == "aws:kms",
    "S3_KMS_KEY_ID needs S3_SERVER_SIDE_ENCRYPTION=aws:kms.",
)
env.require(
    not S3_CA_BUNDLE or Path(S3_CA_BUNDLE).is_file(), f"S3_CA_BUNDLE: there is no file {S3_CA_BUNDLE}."
)
MODEL_STORAGE_BUCKET = env.text("MODEL_STORAGE_BUCKET", default="ml-models", meaning="S3 bucket")
MODEL_STORAGE_PATH = Path(
    env.text(
        "MODEL_STORAGE_PATH",
        default=str(DATA_DIR / "models"),
        shown=".data/models",
        meaning="Folder of models without S3",
    )
)
EXPORT_STORAGE_PATH = Path(
    env.text(
        "EXPORT_STORAGE_PATH",
        default=str(DATA_DIR / "exports"),
        shown=".data/exports",
        meaning="Folder of exports without S3",
    )
)
STATIC_ROOT = Path(
    env.text(
        "STATIC_ROOT",
        default=str(BASE_DIR / "staticfiles"),
        shown="staticfiles",
        meaning="Folder of collected static files",
    )
)


_encryption = {"ServerSideEncryption": S3_SERVER_SIDE_ENCRYPTION} if S3_SERVER_SIDE_ENCRYPTION else {}
if S3_KMS_KEY_ID:
    _encryption["SSEKMSKeyId"] = S3_KMS_KEY_ID


def _storage(folder: Path, prefix: str) -> dict[str, Any]:
    if not MINIO_ENDPOINT_URL:
        return {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(folder)},
        }
    return {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "endpoint_url": MINIO_ENDPOINT_URL,
            "access_key": _s3_key or _aws_key,
            "secret_key": _s3_secret or _aws_secret,
            "region_name": AWS_REGION,
            "bucket_name": MODEL_STORAGE_BUCKET,
            "location": prefix,
            "file_overwrite": True,
            "verify": S3_CA_BUNDLE or None,  # None: the authorities that come with botocore; never False
            "object_parameters": _encryption,
            "max_memory_size": 16_777_216,  # of a file that is read; what is larger goes through a temporary one
            "client_config": Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                connect_timeout=3,
                read_timeout=10,
                retries={"total_max_attempts": 2},
            ),
        },
    }


STORAGES = {
    "models": _storage(MODEL_STORAGE_PATH, "models"),
    "exports": _storage(EXPORT_STORAGE_PATH, "exports"),
    "default": _storage(DATA_DIR / "files", "files"),
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
logs.keep_secret([_s3_secret, _aws_secret])
