"""Names of queues."""


def queue_name(name_or_url: str) -> str:
    """The name in a queue's name or URL; Celery and its callers know the queue by it."""
    return name_or_url.rstrip("/").rsplit("/", 1)[-1]
