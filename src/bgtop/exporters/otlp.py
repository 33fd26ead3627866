"""Numbers for an OpenTelemetry collector, by the SDK's own exporter (OTLP over HTTP).

Its variables of the environment hold as everywhere: headers, certificates, compression.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bgtop.contracts import ExporterPlugin
from bgtop.exporters.sending import Sender
from bgtop.source_url import redacted

if TYPE_CHECKING:
    from bgtop.contracts import ExportSettings

_PATIENCE: Final = 5
"""Seconds for one request, and for repeating it."""


class OtlpExporter(Sender):
    """Counts are cumulative, so none is lost: those in a request that failed are told again.

    ``dropped`` are the points in such requests.
    """

    def __init__(self, url: str, settings: ExportSettings) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        # It would write a traceback for each request that fails; we say it in a line.
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
        logging.getLogger("opentelemetry").propagate = False
        super().__init__("otlp", settings)
        self._url = redacted(url)
        self._exporter = OTLPMetricExporter(endpoint=url, timeout=_PATIENCE)
        self._began = time.time_ns()

    def _send(self) -> str | None:
        from opentelemetry.sdk.metrics.export import MetricExportResult

        from bgtop.exporters.otlp_points import metrics_data

        with self._lock:
            families = self._telling.bounded(self._told())
        if not families:
            return None
        try:
            result = self._exporter.export(
                metrics_data(families, self._began, time.time_ns()), timeout_millis=_PATIENCE * 1000
            )
        except Exception as error:  # noqa: BLE001 - whatever its transport raises
            words = f"{self._url}: {type(error).__name__}"
        else:
            words = f"{self._url}: the collector did not take it"
            if result is MetricExportResult.SUCCESS:
                return None
        self._dropped += sum(len(family.rows) for family in families)
        return words


def _open(text: str, settings: ExportSettings) -> OtlpExporter:
    try:
        url = urlsplit(text)
        if url.scheme not in {"http", "https"} or not url.hostname or url.port == 0:
            raise ValueError  # noqa: TRY301 - told below, like a port that is none
    except ValueError:
        raise ValueError(f"{redacted(text)!r} is not http://HOST:PORT") from None
    path = url.path if url.path not in {"", "/"} else "/v1/metrics"
    return OtlpExporter(url._replace(path=path).geturl(), settings)


plugin = ExporterPlugin(
    name="otlp",
    summary="an OpenTelemetry collector, at http://HOST:4318",
    open=_open,
    requires="pip install 'bgtop[otlp]'",
)
