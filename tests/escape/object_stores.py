"""Asks for an object by the native S3 clients of Arrow and Lance: ``python object_stores.py NAME HOST PORT``."""

import os
import sys

# Nothing but the one endpoint is asked, neither for credentials nor for a region.
os.environ |= {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}

name, endpoint = sys.argv[1], f"{sys.argv[2]}:{sys.argv[3]}"
if name == "arrow":
    from pyarrow import fs

    store = fs.S3FileSystem(
        access_key="a",
        secret_key="b",
        region="r",
        scheme="http",
        endpoint_override=endpoint,
        connect_timeout=5,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
    )
    store.get_file_info("bucket/object")
else:
    import lance

    lance.dataset(
        "s3://bucket/set.lance",
        storage_options={
            "access_key_id": "a",
            "secret_access_key": "b",
            "region": "r",
            "endpoint": f"http://{endpoint}",
            "allow_http": "true",
            "client_max_retries": "0",
            "client_retry_timeout": "5",
        },
    )
