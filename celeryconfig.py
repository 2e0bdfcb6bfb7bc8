"""Celery's configuration. Values come from the environment through archiver.settings; there is no logic here."""

from archiver.aws.queues import queue_name
from archiver.settings import load_settings

settings = load_settings()
source_queue = queue_name(settings.sqs_source_queue)
crew_queue = queue_name(settings.sqs_crew_queue) if settings.sqs_crew_queue else None

# Broker: SQS with the SDK's own credential chain, region and endpoint.
broker_url = "sqs://"
broker_transport = (
    "archiver.monitoring.channel:Transport" if settings.monitoring else "archiver.worker.transport:Transport"
)
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_transport_options = {
    "predefined_queues": {
        source_queue: {"url": settings.sqs_source_queue},
        **({crew_queue: {"url": settings.sqs_crew_queue}} if crew_queue else {}),
    },
    "crew_queue": crew_queue,
    "region": settings.aws_region,
    "visibility_timeout": settings.visibility_timeout_seconds,
    "wait_time_seconds": settings.poll_seconds,
    "polling_interval": 0,
    "backoff_base_seconds": settings.backoff_base_seconds,
    "backoff_cap_seconds": settings.backoff_cap_seconds,
    "max_attempts": settings.max_attempts,
    "hand_backs_bucket": settings.s3_destination_bucket,
    "max_body_bytes": settings.max_body_bytes,
    "liveness_file": settings.liveness_file,
    "monitoring_prefix": settings.monitoring_prefix,
}

# One queue for every task, but for chunks of other workers' jobs.
task_default_queue = source_queue
task_queues = {name: {"routing_key": name} for name in (source_queue, crew_queue) if name}
task_create_missing_queues = False
task_serializer = "json"
accept_content = ["json"]

# Acks: late, never for a failure; a lost process gives its message back.
task_acks_late = True
task_acks_on_failure_or_timeout = False
task_reject_on_worker_lost = True
worker_lost_wait = 2.0

# One message a process: none waits behind another while its visibility runs out.
worker_prefetch_multiplier = 1
worker_concurrency = settings.worker_concurrency
worker_cancel_long_running_tasks_on_connection_loss = False

# The drain's patience (archiver/worker/drain.py).
worker_soft_shutdown_timeout = settings.soft_shutdown_seconds

# No results: the notification is the result. Events and remote control only with monitoring.
task_ignore_result = True
task_track_started = True
worker_send_task_events = settings.monitoring
task_send_sent_event = False
worker_enable_remote_control = settings.monitoring
worker_hijack_root_logger = False
worker_redirect_stdouts = False
