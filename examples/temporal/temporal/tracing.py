"""OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT is set: spans of workflows and activities, by Temporal's own interceptor.

The packages are not among the requirements: add `temporalio[opentelemetry]` and `opentelemetry-exporter-otlp` to requirements.in, then run
`make lock setup`.
"""

from __future__ import annotations

from temporalio.client import Interceptor

from sky_orchestrate.errors import SettingsError
from sky_orchestrate.settings import Settings


def tracing(settings: Settings) -> Interceptor:
    """Sends spans as OTEL_* variables say. Raises SettingsError where the packages are missing."""
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # pyright: ignore[reportMissingImports]  # optional
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # pyright: ignore[reportMissingImports]  # optional
        from opentelemetry.sdk.trace import TracerProvider  # pyright: ignore[reportMissingImports]  # optional
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # pyright: ignore[reportMissingImports]  # optional
        from temporalio.contrib.opentelemetry import TracingInterceptor
    except ImportError as error:
        raise SettingsError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, and {error.name} is not installed: "
            "add temporalio[opentelemetry] and opentelemetry-exporter-otlp to requirements.in and run `make lock setup`, "
            "or leave the variable out"
        ) from error
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: settings.slug}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return TracingInterceptor()
