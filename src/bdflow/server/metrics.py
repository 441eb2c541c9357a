"""What a monitor asks for, in Prometheus' format."""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from bdflow.server.pool import Pool

_SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 20, 60, 120)  # bounds of the histogram
_PATHS = ("shrink", "restore", "models", "metrics", "healthz", "openapi.json", "files", "bdflow")


class Metrics:
    """Counters of one server."""

    TYPE = CONTENT_TYPE_LATEST

    def __init__(self, pool: Pool) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._answers = Counter(
            "bdflow_answers",
            "Answers; 499 stands for clients that left",
            ("path", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "bdflow_seconds",
            "Seconds from a request to its answer",
            ("path",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._bytes = Counter("bdflow_body_bytes", "Bytes of bodies that were read", registry=registry)
        for name, says in (
            ("held", "Requests that wait or are worked on"),
            ("working", "Requests that are worked on"),
            ("killed", "Worker processes that were killed, or died"),
        ):
            gauge = Gauge(f"bdflow_{name}", says, registry=registry)
            gauge.set_function(lambda name=name: getattr(pool, name))  # type: ignore[misc]

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count an answer. Paths that clients make up are one."""
        first = path.split("/")[1]
        label = "page" if path == "/" else first if first in _PATHS else "other"
        self._answers.labels(label, str(status)).inc()
        self._seconds.labels(label).observe(seconds)

    def read(self, count: int) -> None:
        """Count a body's bytes."""
        self._bytes.inc(count)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self._registry)
