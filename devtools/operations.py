"""Which operation of S3, SQS or SNS a request asks for, told from its head."""

from devtools.http1 import RequestHead

_BUCKET_QUERY = {
    ("GET", "list-type"): "ListObjectsV2",
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", "versions"): "ListObjectVersions",
    ("POST", "delete"): "DeleteObjects",
}
_BUCKET = {"GET": "ListObjects", "HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
_OBJECT_QUERY = {
    ("GET", "uploadId"): "ListParts",
    ("GET", "attributes"): "GetObjectAttributes",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
}
_OBJECT = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
#: Sub-resources that make another operation of the same method and path; named by themselves.
_SUBRESOURCES = (
    "acl", "cors", "encryption", "lifecycle", "location", "notification", "object-lock", "policy", "publicAccessBlock",
    "retention", "tagging", "versioning",
)  # fmt: skip


def operation_of(head: RequestHead) -> str:
    """Name the operation as boto3's service models do (``UploadPartCopy``, ``SendMessage``), S3's path style assumed.

    What is not told apart is named by its method and what it is asked of, as in ``PUT ?lifecycle``.
    """
    target = head.headers.get("x-amz-target")
    if target:
        return target.rpartition(".")[2]
    query = head.query
    bucket, _, key = head.path.lstrip("/").partition("/")
    for name in _SUBRESOURCES:
        if name in query:
            return f"{head.method} ?{name}"
    if key:
        copied = "x-amz-copy-source" in head.headers
        if head.method == "PUT" and "uploadId" in query:
            return "UploadPartCopy" if copied else "UploadPart"
        if head.method == "PUT" and copied:
            return "CopyObject"
    named = _OBJECT_QUERY if key else _BUCKET_QUERY
    for (method, name), operation in named.items():
        if method == head.method and name in query:
            return operation
    if key:
        return _OBJECT.get(head.method, f"{head.method} object")
    if bucket:
        return _BUCKET.get(head.method, f"{head.method} bucket")
    return "ListBuckets" if head.method == "GET" else f"{head.method} /"
