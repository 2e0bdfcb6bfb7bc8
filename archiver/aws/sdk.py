"""What is wrong with the SDK's own variables, in words that name them: without them nothing at all can be asked."""

from botocore.exceptions import (
    BotoCoreError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from archiver.aws.clients import PROMPT, new_client, new_session


def complaint(error: BaseException) -> str | None:
    """One line where the error comes of the SDK's configuration; None where it comes of anything else."""
    match error:
        case NoRegionError():
            return "AWS_DEFAULT_REGION is not set, and no profile names a region"
        case NoCredentialsError():
            return "there are no AWS credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or give the task a role"
        case PartialCredentialsError():
            return f"the AWS credentials are incomplete: {error}"
        case ProfileNotFound():
            return f"AWS_PROFILE: {error}"
        case InvalidRegionError():
            return f"AWS_DEFAULT_REGION: {error}"
        case ValueError() if "Invalid endpoint" in str(error):
            return f"AWS_ENDPOINT_URL: {error}"
    return None


def configuration_fault(queue: str, *, region: str | None) -> str | None:
    """Why nothing can be asked of ``queue`` (a name or a URL), in one line; None where it can be tried.

    Credentials are looked up, so that their provider may be asked; one that fails may do better later. Nothing else
    is sent. ``region`` is the last resort.
    """
    try:
        session = new_session(region)
        new_client("sqs", timeouts=PROMPT, queue=queue, region=region, session=session)
        if session.get_credentials() is None:
            return complaint(NoCredentialsError())
    except (BotoCoreError, ValueError) as error:
        return complaint(error)
    return None
