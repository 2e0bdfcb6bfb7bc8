"""Which operation of S3, SQS or SNS a request asks for, told from its head."""

from collections.abc import Mapping

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


def operation_of(method: str, path: str, *, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """Name the operation as boto3's service models do (``UploadPartCopy``, ``SendMessage``), S3's path style assumed.

    What is not told apart is named by its method and what it is asked of, as in ``PUT ?lifecycle``.
    """
    if target := headers.get("x-amz-target"):
        return target.rpartition(".")[2]
    bucket, _, key = path.lstrip("/").partition("/")
    for name in _SUBRESOURCES:
        if name in query:
            return f"{method} ?{name}"
    if key and method == "PUT" and ("uploadId" in query or "x-amz-copy-source" in headers):
        copied = "x-amz-copy-source" in headers
        if "uploadId" in query:
            return "UploadPartCopy" if copied else "UploadPart"
        return "CopyObject"
    for (named, name), operation in (_OBJECT_QUERY if key else _BUCKET_QUERY).items():
        if named == method and name in query:
            return operation
    if key:
        return _OBJECT.get(method, f"{method} object")
    if bucket:
        return _BUCKET.get(method, f"{method} bucket")
    return "ListBuckets" if method == "GET" else f"{method} /"
