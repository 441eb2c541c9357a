"""The networks of the page, out of the package's own models; written when the first page asks for them."""

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from bdflow import zoo
from bdflow.server.exchange import Streamed
from bdflow.zoo.web import export_web

_FOR_GOOD = "public, max-age=31536000, immutable"  # of files that are named after their digest
_lock = Lock()


class Weights:
    """Answers for `NAME.json` and the files that it names.

    Args:
        names: Of the built-in models.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names, self._lock = names, Lock()

    def answer(self, request: Request) -> Response:
        """A file.

        Raises:
            HTTPException: 404 of what is no built-in model's.
        """
        name = request.path_params["name"]
        manifest = name.endswith(".json")
        model = name.removesuffix(".json") if manifest else name.rpartition("-")[0]
        if model not in self._names:
            raise HTTPException(404)
        with self._lock:  # asked for by several at once, it is written once
            files = _files(model)
        if name not in files:
            raise HTTPException(404)
        kind = "application/json" if manifest else "application/octet-stream"
        kept = "no-cache" if manifest else _FOR_GOOD
        return Streamed(files[name], kind, {"cache-control": kept})


@lru_cache(maxsize=4)  # 15 MB at most each
def _files(model: str) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        export_web(zoo.find(model), Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}
