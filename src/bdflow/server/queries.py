"""What may stand behind the question mark: checked by these structures, and described from them."""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.datastructures import QueryParams

from bdflow import fitting
from bdflow.errors import BDFlowError
from bdflow.smallfile.thumbnail import FACTORS

FORMATS = {"avif": "AVIF", "webp": "WebP", "jpg": "JPEG", "best": fitting.BEST}  # as `bdflow.fitting` says
TYPES = {"avif": "image/avif", "webp": "image/webp", "jpg": "image/jpeg", "png": "image/png"}


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What both ask."""

    purpose: Annotated[
        Literal["fidelity", "look"],
        Meta(description="What it is restored for: closest in its samples (PSNR), or for the eye"),
    ] = msgspec.field(default="fidelity", name="for")

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            BDFlowError: It does.
        """

    def given(self, *names: str) -> dict[str, Any]:
        """Those of some fields that were asked for, or have a default."""
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not UNSET}


class Shrink(Query, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `POST /shrink`."""

    bytes: (
        Annotated[int, Meta(ge=1, le=10**9, description="Bytes that the file may have, everything counted")]
        | UnsetType
    ) = UNSET
    bpp: (
        Annotated[float, Meta(gt=0, le=1000, description="The same in bits per pixel of the photograph")]
        | UnsetType
    ) = UNSET
    quality: (
        Annotated[int, Meta(ge=0, le=100, description="In place of both: the format's own, at full size")]
        | UnsetType
    ) = UNSET
    format: Annotated[
        Literal["avif", "webp", "jpg", "best"],
        Meta(description="Of the small file; best, with bytes or bpp, is whichever restores best"),
    ] = "avif"
    domain: Annotated[
        Literal["auto", "portraits", "photos", "plain"],
        Meta(description="What it is restored as; auto tries all and keeps the best, plain takes no network"),
    ] = "auto"
    effort: Annotated[
        Literal["low", "medium", "high"], Meta(description="How much is tried; low is for many in a hurry")
    ] = "medium"

    def check(self) -> None:
        """See `Query`; without bytes, bpp and quality the quality is 75."""
        sizes = self.given("bytes", "bpp", "quality")
        if len(sizes) > 1:
            raise BDFlowError(f"{' and '.join(sizes)} each say how small: name one of them")
        self.goal()

    def goal(self) -> fitting.Goal:
        """The file that is asked for.

        Raises:
            BDFlowError: The query contradicts itself.
        """
        sizes = self.given("bytes", "bpp", "quality")
        return fitting.Goal(
            max_bytes=sizes.get("bytes"),
            bits_per_pixel=sizes.get("bpp"),
            quality=sizes.get("quality"),
            format=FORMATS[self.format],
            domain=None if self.domain == "auto" else self.domain,
            effort=self.effort,
            purpose=self.purpose,
        )


class Restore(Query, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `POST /restore`."""

    scale: (
        Annotated[
            float,
            Meta(
                description="Of a thumbnail that lost what bdflow added: how many times smaller it is",
                extra_json_schema={"enum": list(FACTORS)},
            ),
        ]
        | UnsetType
    ) = UNSET
    domain: (
        Annotated[
            Literal["photos", "portraits"],
            Meta(description="With scale: what such a thumbnail shows; photos is assumed"),
        ]
        | UnsetType
    ) = UNSET
    format: Annotated[Literal["png", "jpg", "webp", "avif"], Meta(description="Of the restored picture")] = (
        "png"
    )
    quality: (
        Annotated[int, Meta(ge=1, le=100, description="Of a jpg, webp or avif; 95 is assumed")] | UnsetType
    ) = UNSET

    def check(self) -> None:
        """See `Query`."""
        if self.scale is not UNSET and self.scale not in FACTORS:
            raise BDFlowError(f"a scale is one of {', '.join(f'{each:g}' for each in FACTORS)}")
        if self.domain is not UNSET and self.scale is UNSET:
            raise BDFlowError("a domain is for a thumbnail that lost its own: name its scale, too")
        if self.quality is not UNSET and self.format == "png":
            raise BDFlowError("png is lossless and takes no quality: leave it out, or ask for jpg")


_Q = TypeVar("_Q", bound=Query)


def parse(query: QueryParams, kind: type[_Q]) -> _Q:
    """A checked query.

    Raises:
        BDFlowError: There is no such parameter or value, one is given twice, or they contradict each other.
    """
    pairs = query.multi_items()
    if len({name for name, _ in pairs}) < len(pairs):
        raise BDFlowError("the query names a parameter twice: name it once")
    try:
        parsed = msgspec.convert(dict(pairs), kind, strict=False)
    except msgspec.ValidationError as error:
        raise BDFlowError(f"the query: {error}") from error
    parsed.check()
    return parsed


def described(kind: type[Query]) -> list[dict[str, Any]]:
    """The parameters of a kind of query, as OpenAPI writes them."""
    (schema,) = msgspec.json.schema_components([kind])[1].values()
    parameters = []
    for name, about in schema["properties"].items():
        described = about.pop("description")
        parameters.append({"name": name, "in": "query", "description": described, "schema": about})
    return parameters
