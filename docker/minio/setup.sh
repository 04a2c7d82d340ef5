#!/bin/sh
# Run at every start, changing nothing the second time: the bucket, and a key that may use this bucket only.
set -eu
export MC_CONFIG_DIR=/tmp/mc
mc alias set hub http://minio:9000 "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD" >/dev/null
mc mb --ignore-existing "hub/$MODEL_STORAGE_BUCKET"
mc admin user add hub "$MINIO_ACCESS_KEY" "$MINIO_SECRET_KEY"
cat >/tmp/policy.json <<JSON
{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetBucketLocation"], "Resource": ["arn:aws:s3:::$MODEL_STORAGE_BUCKET"]},
    {
      "Effect": "Allow",
      "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
      "Resource": ["arn:aws:s3:::$MODEL_STORAGE_BUCKET/*"]
    }
  ]
}
JSON
mc admin policy create hub omarino-bucket /tmp/policy.json
case "$(mc admin user info hub "$MINIO_ACCESS_KEY")" in
    *omarino-bucket*) ;;  # attaching twice is an error
    *) mc admin policy attach hub omarino-bucket --user "$MINIO_ACCESS_KEY" ;;
esac
