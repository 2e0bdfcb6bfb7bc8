"""The in-memory S3 of a test, and the consumer's queue."""

import pytest

from tests.support.fake_s3 import FakeS3
from tests.support.jobs import (
    SOURCES,
    FakeNotifier,
)


@pytest.fixture
def s3() -> FakeS3:
    s3 = FakeS3()
    s3.create_bucket(SOURCES)
    return s3


@pytest.fixture
def notifier() -> FakeNotifier:
    return FakeNotifier()
