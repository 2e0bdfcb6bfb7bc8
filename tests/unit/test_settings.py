"""Settings: defaults, names, and the one line that says what is wrong."""

import pytest

from archiver.archive.key import archive_key
from archiver.archive.location import MAX_KEY_BYTES
from archiver.archive.split import MAX_ARCHIVES, numbered
from archiver.errors import SettingsError
from archiver.settings import SHOWN_CHARACTERS, Settings, load_settings
from archiver.text import cut

LEAST = {"SQS_SOURCE_QUEUE": "input-queue", "S3_DESTINATION_BUCKET": "zip-storage"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in LEAST.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_two_are_enough(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()

    assert (settings.sqs_source_queue, settings.s3_destination_bucket) == ("input-queue", "zip-storage")
    assert (settings.s3_file_prefix, settings.archive_base_url, settings.notify_failures) == ("download", None, False)
    assert settings.part_size == 8 * 1024 * 1024
    assert settings.allowed_source_buckets == ()


@pytest.mark.parametrize("name", LEAST)
@pytest.mark.parametrize("value", [None, ""])
def test_each_of_them_is_missed_by_name(environment: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    environment.setenv(name, value) if value is not None else environment.delenv(name)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value) == f"{name} is not set"


def test_all_that_is_wrong_is_named_in_one_line(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SQS_SOURCE_QUEUE")
    environment.setenv("PART_SIZE_MIB", "4")
    environment.setenv("ARCHIVE_BASE_URL", "ftp://x")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    message = str(caught.value)
    assert "\n" not in message
    for complaint in ("SQS_SOURCE_QUEUE is not set", "PART_SIZE_MIB='4'", "ARCHIVE_BASE_URL='ftp://x'"):
        assert complaint in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("S3_FILE_PREFIX", "a/b"),
        ("S3_FILE_PREFIX", "\x7f"),
        ("S3_FILE_PREFIX", "ü" * 471),
        ("PARTS_IN_FLIGHT", "1"),  # two parts must be able to wait for each other
        ("LINK_EXPIRES_SECONDS", "604801"),  # S3's longest
        ("VISIBILITY_TIMEOUT_SECONDS", "43201"),  # SQS's longest
        ("NOTIFY_FAILURES", "perhaps"),
        ("MAX_FILES", "0"),
        ("SQS_SOURCE_QUEUE", "no queue"),
        ("SQS_DESTINATION_QUEUE", "arn:aws:sqs:eu-west-1:123456789012:output"),
        ("SQS_DESTINATION_QUEUE", "https://sqs.eu-west-1.amazonaws.com"),
        ("SQS_DESTINATION_QUEUE", "https://sqs.eu-west-1.amazonaws.com/"),
        ("SQS_DESTINATION_QUEUE", "x" * 81),
        ("S3_SOURCE_BUCKET", "s3://sources"),
        ("S3_DESTINATION_BUCKET", "arn:aws:s3:::archives"),
        ("S3_DESTINATION_BUCKET", "archives/zips"),
        ("SQS_CREW_QUEUE", "crew.fifo"),
        ("SQS_CREW_QUEUE", "https://sqs.eu-west-1.amazonaws.com/1/input-queue"),  # that of the payloads
        ("CREW_PREFIX", "archiver-crew"),  # would be the beginning of other names, too
        ("CREW_MIN_BYTES", "1"),
        ("TIMEZONE", "Berlin"),
        ("TIMEZONE", "../etc/passwd"),
    ],
)
def test_bounds(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    message = str(caught.value)
    assert message.startswith(f"{name}={cut(repr(value), SHOWN_CHARACTERS)}: ")
    assert "nput should" not in message
    assert "pattern" not in message


def test_the_crew_takes_no_notifications_off_their_queue(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SQS_DESTINATION_QUEUE", "output-queue")
    environment.setenv("SQS_CREW_QUEUE", "https://sqs.eu-west-1.amazonaws.com/1/output-queue")

    with pytest.raises(SettingsError, match=r"SQS_CREW_QUEUE=.*: has the name of SQS_DESTINATION_QUEUE"):
        load_settings()


@pytest.mark.parametrize("status", ["shared/", "shared/crew/", "shared/crew/status/"])
def test_status_objects_lie_apart_from_what_is_swept(environment: pytest.MonkeyPatch, status: str) -> None:
    environment.setenv("STATUS_PREFIX", status)
    environment.setenv("CREW_PREFIX", "shared/crew/")

    with pytest.raises(SettingsError, match=r"CREW_PREFIX='shared/crew/': lies in STATUS_PREFIX"):
        load_settings()


def test_the_longest_file_prefix_makes_the_longest_key(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("S3_FILE_PREFIX", "ü" * 470)

    key = archive_key("{}", request_id="r", sent_at=0, prefix=load_settings().s3_file_prefix)

    assert len(numbered(key, MAX_ARCHIVES).encode()) == MAX_KEY_BYTES


def test_a_queue_given_by_its_arn_is_refused_with_its_name(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SQS_SOURCE_QUEUE", "arn:aws:sqs:eu-west-1:123456789012:input.fifo")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value) == (
        "SQS_SOURCE_QUEUE='arn:aws:sqs:eu-west-1:123456789012:input.fifo': "
        "an ARN; give the queue's URL or its name, input.fifo"
    )


@pytest.mark.parametrize(
    "queue", ["a_B-1", "input.fifo", "https://sqs.eu-west-1.amazonaws.com/1/input", "http://localhost:4566/0/q.fifo"]
)
def test_a_queue_is_a_name_or_a_url(environment: pytest.MonkeyPatch, queue: str) -> None:
    environment.setenv("SQS_SOURCE_QUEUE", queue)

    assert load_settings().sqs_source_queue == queue


def test_a_queues_url_loses_its_final_slash(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SQS_SOURCE_QUEUE", "https://sqs.eu-west-1.amazonaws.com/1/input.fifo/")

    assert load_settings().sqs_source_queue == "https://sqs.eu-west-1.amazonaws.com/1/input.fifo"


def test_each_of_a_list_is_checked(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALLOWED_SOURCE_BUCKETS", "sources,arn:aws:s3:::more")

    with pytest.raises(SettingsError, match=r"^ALLOWED_SOURCE_BUCKETS='arn:aws:s3:::more': no name of a bucket"):
        load_settings()


def test_of_many_faults_the_first_few_are_told(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALLOWED_SOURCE_BUCKETS", ",".join(f"s3://bucket-{number}" for number in range(5000)))

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value).endswith("; and 4990 more")
    assert len(str(caught.value)) < 2000


def test_lists_are_split_at_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALLOWED_SOURCE_BUCKETS", " aaa, bbb,,ccc ")

    assert load_settings().allowed_source_buckets == ("aaa", "bbb", "ccc")


def test_they_do_not_change(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().max_files = 1  # type: ignore[misc]  # which mypy knows as well
