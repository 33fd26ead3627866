"""Numbers for an OpenTelemetry collector, by the SDK's own exporter (OTLP over HTTP).

Its variables of the environment hold as everywhere: headers, certificates, compression.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timezone
from threading import Lock
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bgtop import __version__
from bgtop.contracts import ExporterPlugin
from bgtop.exporters.sending import Courier
from bgtop.source_url import redacted
from bgtop.state.telling import Telling

if TYPE_CHECKING:
    from bgtop.contracts import ExportSettings
    from bgtop.model import Frame

_PATIENCE: Final = 5
"""Seconds for one request, and for repeating it."""


class OtlpExporter:
    """Implements :class:`bgtop.contracts.Exporter`; counts are cumulative, so none is lost."""

    def __init__(self, url: str, settings: ExportSettings) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        # It would write a traceback for each request that fails; we say it in a line.
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
        logging.getLogger("opentelemetry").propagate = False
        self._url, self._settings = redacted(url), settings
        self._exporter = OTLPMetricExporter(endpoint=url, timeout=_PATIENCE)
        self._began = time.time_ns()
        self._telling = Telling()
        self._lock = Lock()
        self._fresh = False
        self._dropped = 0
        self._courier = Courier("otlp", self._send)

    @property
    def dropped(self) -> int:
        """Points in requests that failed; the counts among them are told again by the next."""
        return self._dropped

    @property
    def trouble(self) -> str | None:
        """Why nothing gets through at present."""
        return self._courier.trouble

    def export(self, frame: Frame, /) -> None:
        """Send this one next."""
        with self._lock:
            self._telling.take(frame)
            self._fresh = True
        self._courier.ring()

    def close(self) -> None:
        """Send what is left."""
        self._courier.close()

    def _send(self) -> str | None:
        from opentelemetry.sdk.metrics.export import MetricExportResult

        from bgtop.exporters.otlp_points import metrics_data

        with self._lock:
            if not self._fresh:
                return None
            raw = self._telling.raw(
                datetime.now(timezone.utc), self._settings.dropped(), __version__
            )
            families = self._telling.bounded(raw)
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
