"""The role of the deployment, enforced on a running worker.

The emulator lets everybody do everything. This rule for the proxy in front of it answers ``AccessDenied`` to what the
role's policies do not allow, and keeps what they were needed for. S3 is judged by bucket and key; SQS and SNS by
the action alone, since they name the queue in the body, which the proxy passes on unread; so is S3's DeleteObjects.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

from devtools.faults import ACCESS_DENIED, Fault, Request, Rule, no_faults
from tests.support.policies import IAM_ACTIONS

#: What a version id in the request turns an action into.
_OF_A_VERSION = {
    "s3:GetObject": "s3:GetObjectVersion",
    "s3:GetObjectAttributes": "s3:GetObjectVersionAttributes",
}

#: Actions that S3 checks on the bucket.
_ON_BUCKETS = {"s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetLifecycleConfiguration"}


class Permissions:
    """A rule for ``running_proxy``; ``then`` is asked about what is allowed."""

    def __init__(self, statements: Iterable[Mapping[str, Any]], *, then: Rule = no_faults) -> None:
        self._allowed = frozenset(
            (action, resource)
            for statement in statements
            for action in _list(statement["Action"])
            for resource in _list(statement["Resource"])
        )
        self.then = then
        self._used: set[tuple[str, str]] = set()
        self.denied: list[str] = []

    def __call__(self, request: Request) -> Fault | None:
        for action, resource in _needs(request):
            grants = [
                (allowed, pattern)
                for allowed, pattern in self._allowed
                if allowed == action and (resource is None or fnmatchcase(resource, pattern))
            ]
            if not grants:
                self.denied.append(f"{action} on {resource} for {request.method} {request.path} ({request.operation})")
                return ACCESS_DENIED
            self._used.update(grants)
        return self.then(request)

    @property
    def unused(self) -> set[tuple[str, str]]:
        """Actions with their resources that no request needed; of SQS and SNS those that none needed anywhere.

        What ECS's agent needs is not seen here.
        """
        needed = {action for action, _ in self._used}
        return {
            (action, resource)
            for action, resource in self._allowed - self._used
            if action.startswith("s3:") or (action not in needed and not action.startswith("ecs:"))
        }


def _needs(request: Request) -> list[tuple[str, str | None]]:
    """The actions that a request takes, each with its resource where the head tells it."""
    if "x-amz-target" in request.headers:
        service = "sqs" if request.headers["x-amz-target"].startswith("AmazonSQS") else "sns"
        return [(action, None) for action in _actions(f"{service}.{request.operation}")]
    bucket, _, key = unquote(request.path).lstrip("/").partition("/")
    version = request.query.get("versionId")
    needs: list[tuple[str, str | None]] = []
    if request.operation == "HeadObject":
        # Without it S3 says 403 where it means 404.
        needs.append(("s3:ListBucket", f"arn:aws:s3:::{bucket}"))
    actions = [*_actions(f"s3.{request.operation}")]
    if "x-amz-tagging" in request.headers:
        actions.append("s3:PutObjectTagging")
    for action in actions:
        if action == "s3:GetObject" and (source := request.headers.get("x-amz-copy-source")):
            path, _, copied = unquote(source).lstrip("/").partition("?versionId=")
            needs.append((_OF_A_VERSION[action] if copied else action, f"arn:aws:s3:::{path}"))
        elif request.operation == "DeleteObjects":
            needs.append((action, None))  # the keys are in the body
        elif action in _ON_BUCKETS:
            needs.append((action, f"arn:aws:s3:::{bucket}"))
        else:
            needs.append((_OF_A_VERSION.get(action, action) if version else action, f"arn:aws:s3:::{bucket}/{key}"))
    return needs


def _actions(operation: str) -> Iterable[str]:
    return sorted(IAM_ACTIONS.get(operation, {operation.replace(".", ":", 1)}))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
