"""OpenTelemetry's SDK in a process that runs jobs: set up by its standard variables, where one names an exporter.

The variables that say how (OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, …) are read by the SDK
itself. Spans leave in a thread of the SDK's, which no fork takes along, so each process of the pool sets up its own.
Whatever is wrong with it costs log lines, never a job.

Source: OpenTelemetry specification, "OpenTelemetry Environment Variable Specification".
"""

import sys
import threading
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from archiver.logs import get_logger
from archiver.settings import Settings
from archiver.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

log = get_logger(__name__)

#: The most that a process takes to send its last spans, in seconds: within the drain's time for Celery's shutdown.
FLUSH_SECONDS = 2.0
#: Packages register their exporters under this group, each under the name that OTEL_TRACES_EXPORTER calls it by.
EXPORTERS = "opentelemetry_traces_exporter"
OTLP = "otlp"
#: OTLP's name in that group, by the one protocol that the extra brings along.
OTLP_HTTP = "otlp_proto_http"
HTTP_PROTOCOL = "http/protobuf"
#: How the SDK begins the name of a service that nobody has named.
_UNNAMED = "unknown_service"


def exporters(settings: Settings) -> tuple[str, ...]:
    """The names of the exporters that the environment asks for: ``otlp`` where only its endpoint is given."""
    if settings.otel_traces_exporter is not None:
        names = [name.strip() for name in settings.otel_traces_exporter.split(",")]
        return tuple(name for name in names if name not in ("", "none"))
    if settings.otel_exporter_otlp_endpoint or settings.otel_exporter_otlp_traces_endpoint:
        return (OTLP,)
    return ()


def set_up_export(settings: Settings) -> None:
    """Have this process's spans exported, where the environment asks for it and no other provider is set.

    To be called after the fork, once. Raises nothing of its own.
    """
    if names := exporters(settings):
        # A job's soft time limit is an exception in the main thread, whatever it does: there nothing may be caught.
        thread = threading.Thread(target=_try_to_set_up, args=(names, settings), name="traces", daemon=True)
        thread.start()
        thread.join()


def _try_to_set_up(names: tuple[str, ...], settings: Settings) -> None:
    try:
        _set_up(names, settings)
    except ImportError as error:
        log.error("no traces: the extra archiver[otel] is not installed", error=str(error))
    except Exception as error:
        # A bad value in one of the SDK's own variables.
        log.error("no traces: OpenTelemetry's SDK could not be set up", error=repr(error))


def _set_up(names: tuple[str, ...], settings: Settings) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return  # whoever runs the process has set up its own
    provider = TracerProvider(resource=_resource())
    found = False
    for name in names:
        protocol = settings.otel_exporter_otlp_protocol
        if name == OTLP and protocol not in (None, HTTP_PROTOCOL):
            log.error("no traces: OTLP goes over HTTP here", otel_exporter_otlp_protocol=protocol, use=HTTP_PROTOCOL)
            continue
        points = entry_points(group=EXPORTERS, name=OTLP_HTTP if name == OTLP else name)
        if not points:
            log.error("no traces: no such exporter is installed", otel_traces_exporter=name)
            continue
        provider.add_span_processor(BatchSpanProcessor(next(iter(points)).load()()))
        found = True
    if found:
        trace.set_tracer_provider(provider)


def _resource() -> "Resource":
    """What the environment says of the service, and our name where it says none."""
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource

    given = Resource.create()
    if not str(given.attributes[SERVICE_NAME]).startswith(_UNNAMED):
        return given
    return given.merge(Resource({SERVICE_NAME: "archiver", SERVICE_VERSION: __version__}))


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Send the spans that this process still has, and no more of them: it ends. At most for so many ``seconds``."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        return  # nobody has set one up
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        # The SDK's own flush has no timeout, and tries a collector that does not answer for ten seconds.
        thread = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            log.warning("the last spans are lost: they could not be sent in time", seconds=seconds)
