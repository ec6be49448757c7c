"""A meter provider of OpenTelemetry's SDK, and what it has measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric


class Measured:
    """The measurements that an in-memory reader has collected."""

    def __init__(self, reader: InMemoryMetricReader) -> None:
        self._reader = reader

    def metrics(self) -> dict[str, Metric]:
        """Return all metrics by name."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Return attributes and values; the value of a histogram is its count."""
        metric = self.metrics().get(name)
        points: list[Any] = [] if metric is None else [*metric.data.data_points]
        return [
            (dict(point.attributes), getattr(point, "count", None) or point.value)
            for point in points
        ]

    def series(self) -> set[tuple[str, tuple[tuple[str, Any], ...]]]:
        """Return the time series: names with their attributes."""
        return {
            (name, tuple(sorted((point.attributes or {}).items())))
            for name, metric in self.metrics().items()
            for point in metric.data.data_points
        }


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Measured]:
    """Set a meter provider, as a program does."""
    sdk = pytest.importorskip("opentelemetry.sdk.metrics", reason="not installed")
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = sdk.MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)
    yield Measured(reader)
    provider.shutdown()
