"""The folder of small files: the files as they are, and the page that shows them."""

import html
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from string import Template
from typing import NamedTuple
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from bdflow.errors import BDFlowError
from bdflow.pictures import reader
from bdflow.smallfile import container
from bdflow.system.files import opened, printable

PICTURES = {
    ".avif": "image/avif",
    ".webp": "image/webp",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
}
MODULES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
}
_ON_A_PAGE = 60


class Files(StaticFiles):
    """Files of some endings in a folder. Hidden ones, and links that lead out of it, are not found."""

    def __init__(self, folder: Path, types: Mapping[str, str]) -> None:
        super().__init__(directory=folder)
        self.types = types

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """The file of a path below the folder, if it may be had."""
        if _hidden(Path(path)) or Path(path).suffix.lower() not in self.types:
            return "", None
        try:
            return super().lookup_path(path)
        except OSError:  # no permission, a ring of links, a name too long
            return "", None

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """The file, of the type that its ending names here: the system's own list may lack it."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "no-cache"  # asked for again, and answered that it is the same
        if response.status_code == 200:
            response.headers["content-type"] = self.types[Path(full_path).suffix.lower()]
        return response


class Shown(NamedTuple):
    """A picture of the folder's.

    Attributes:
        path: Below the folder, with slashes.
        bytes: Of the file.
        size: Width and height, of a small file's photograph.
        small: Whether it holds bdflow's payload. Where a codec's own file was the best, it does not.
    """

    path: str
    bytes: int
    size: tuple[int, int]
    small: bool


def shown(folder: Path) -> Iterator[Shown]:
    """All pictures that may be had, in the order of their paths."""
    root = folder.resolve()
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            below = path.relative_to(root)
            if path.suffix.lower() not in PICTURES or _hidden(below) or not below.as_posix().isprintable():
                continue
            try:
                if not path.is_file() or not path.resolve().is_relative_to(root):
                    continue
                facts = path.stat()
            except OSError:  # gone meanwhile, or a ring of links
                continue
            if looked := _look(path, facts.st_mtime_ns, facts.st_size):
                yield Shown(below.as_posix(), facts.st_size, *looked)


@lru_cache(maxsize=1 << 16)
def _look(path: Path, changed: int, size: int) -> tuple[tuple[int, int], bool] | None:
    """What the header of a file of some time and bytes tells; None of what is no picture."""
    try:
        with opened(path) as (stream, name):
            photograph = container.photograph_size(stream)
            return photograph or reader.size(stream, name), photograph is not None
    except BDFlowError:
        return None


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def page(folder: Path, number: int, web: Path | None) -> str:
    """The page of a folder: its pictures, sixty at a time.

    Args:
        folder: Of small files.
        number: From 1 on.
        web: The built web package; None where the page shows the files as they are.

    Raises:
        HTTPException: 404 of a page that there is not.
    """
    pictures = list(shown(folder))
    pages = max(1, -(-len(pictures) // _ON_A_PAGE))
    if not 1 <= number <= pages:
        raise HTTPException(404)
    here = pictures[(number - 1) * _ON_A_PAGE : number * _ON_A_PAGE]
    scripts = []
    if web:
        pngs = any(picture.small and picture.path.lower().endswith(".png") for picture in here)
        names = (["ort.js"] if pngs and (web / "ort.js").is_file() else []) + ["element.js"]
        scripts = [f'<script type="module" src="bdflow/{name}"></script>\n' for name in names]
    links = [
        f'<a href="?page={each}">{each}</a>' if each != number else str(each) for each in range(1, pages + 1)
    ]
    template = Template(resources.files("bdflow.server").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        scripts="".join(scripts),
        count=f"{len(pictures):,} picture{'' if len(pictures) == 1 else 's'}",
        says="The page restores each small file when it comes into view."
        if web
        else "They stand as they are.",
        figures="".join(map(_figure, here)),
        pages=f"<nav>Page {' '.join(links)}</nav>\n" if pages > 1 else "",
    )


def _figure(picture: Shown) -> str:
    name, (width, height) = html.escape(printable(picture.path)), picture.size
    size = f'width="{width}" height="{height}"'
    image = f'<img src="files/{quote(picture.path)}" {size} loading="lazy" alt="{name}">'
    if picture.small:
        image = f"<bd-img>{image}</bd-img>"
    return f"""\
<figure>
{image}
<figcaption>{name}: {picture.bytes:,} bytes, {width}x{height}</figcaption>
</figure>
"""
