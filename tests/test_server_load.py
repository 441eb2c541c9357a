"""`bdflow serve` under load: whatever is asked for by however many, only what is stated is answered."""

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path
from statistics import median

import httpx
import pytest
from serving import serving
from thumbnails import photo, thumbnail

from bdflow.pictures import codecs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="asks Linux for memory"),
]

CLIENTS, SECONDS, MOST = 100, 60, 200_000
SMALL = thumbnail(photo(90, 120)).data
LARGE = codecs.encode(photo(180, 240), "jpg", 90)
ASKED = {  # each with how often, what is asked for, and the statuses that it may have
    "page": (2, ("GET", "/", None), {200}),
    "file": (6, ("GET", "/files/a.webp", None), {200}),
    "none": (1, ("GET", "/files/../none.webp", None), {404}),
    "models": (1, ("GET", "/models", None), {200}),
    "metrics": (1, ("GET", "/metrics", None), {200}),
    "restore": (6, ("POST", "/restore", SMALL), {200, 429, 503}),
    "restore look": (2, ("POST", "/restore?for=look&format=webp", SMALL), {200, 429, 503}),
    "shrink": (4, ("POST", "/shrink?quality=40", LARGE), {200, 429, 503}),
    "shrink to bytes": (2, ("POST", "/shrink?bytes=2000&effort=low", LARGE), {200, 429, 503}),
    "too large": (1, ("POST", "/restore", bytes(MOST + 1)), {413, 429}),
    "broken": (2, ("POST", "/shrink", LARGE[:400]), {422, 429, 503}),
    "wrong query": (1, ("POST", "/shrink?bytes=x", LARGE), {400}),
}


async def client(url: httpx.URL, number: int, end: float, counts: Counter[tuple[str, int]]) -> None:
    """One that asks until the end, and waits as long as it is told, two seconds at most."""
    dice = random.Random(number)
    names, weights = list(ASKED), [each[0] for each in ASKED.values()]
    async with httpx.AsyncClient(base_url=url, timeout=120) as asking:
        while time.monotonic() < end:
            (name,) = dice.choices(names, weights)
            _, (method, path, content), _ = ASKED[name]
            answer = await asking.request(method, path, content=content)
            counts[name, answer.status_code] += 1
            await asyncio.sleep(min(2, float(answer.headers.get("retry-after", 0.05))))


async def measured(served, counts: Counter[tuple[str, int]]) -> list[tuple[int, int]]:
    """Bytes of memory of the server and of its workers, twice a second."""

    def resident(process: int) -> int:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    end, memory = time.monotonic() + SECONDS, []
    asking = [asyncio.create_task(client(served.client.base_url, i, end, counts)) for i in range(CLIENTS)]
    while not all(each.done() for each in asking):
        memory.append((resident(served.process.pid), sum(map(resident, served.workers))))
        await asyncio.sleep(0.5)
    await asyncio.gather(*asking)
    return memory


def test_a_hundred_clients_for_a_minute(tmp_path, record_property):
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "a.webp").write_bytes(SMALL)
    counts: Counter[tuple[str, int]] = Counter()
    with serving(folder, "--jobs", 2, "--max-bytes", MOST, program=tmp_path / "serve.py") as served:
        memory = asyncio.run(measured(served, counts))
        after = served.client.post("/restore", content=SMALL)
    assert after.status_code == 200
    for (name, status), count in counts.items():
        assert status in ASKED[name][2], (name, status, count)
    statuses = Counter()
    for (_, status), count in counts.items():
        statuses[status] += count
    record_property("clients", CLIENTS)
    for status, count in sorted(statuses.items()):
        record_property(f"answers {status}", count)
    quarter = len(memory) // 4
    for name, values in zip(("server", "workers"), zip(*memory, strict=True), strict=True):
        before, later = (
            round(median(part) / 2**20) for part in (values[quarter : 2 * quarter], values[-quarter:])
        )
        record_property(f"MiB of the {name}, in the second quarter", before)
        record_property(f"MiB of the {name}, in the last quarter", later)
        assert later < 1.1 * before + 16
