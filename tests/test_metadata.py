"""EXIF, XMP, IPTC and the resolution, through small files and into the restored picture; or nowhere."""

import base64
import io
import json
import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, IptcImagePlugin

import bdflow
from bdflow.errors import BDFlowError
from bdflow.pictures import codecs, exif, reader, strips
from bdflow.pictures.limits import MAX_METADATA
from bdflow.pictures.metadata import NONE, Metadata
from bdflow.pictures.strips import Strips
from bdflow.smallfile import container

MAKER_NOTE = bytes(range(200))
CREDITS = "© Jörg".encode()
IPTC = b"\x1c\x02\x19\x00\x06garden\x1c\x02\x78\x00\x05hello"
XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
    b' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
PACKET_END = b'<?xpacket end="w"?>'
THUMBNAIL = b"\xff\xd8 a thumbnail \xff\xd9"


def described(order: str = "<", place: bool = True) -> bytes:
    """EXIF as a camera writes it: turned by 90 degrees, with a place, a maker's note, and a thumbnail."""
    ascii, undefined = 2, exif.UNDEFINED
    taken = exif.Entry(ascii, 20, b"2020:01:02 03:04:05\0")
    directory = {
        271: exif.Entry(ascii, 6, b"Maker\0"),
        exif.ORIENTATION: exif.short(order, 6),
        exif.X_RESOLUTION: exif.rational(order, 300),
        exif.Y_RESOLUTION: exif.rational(order, 300),
        exif.UNIT: exif.short(order, 2),
        33432: exif.Entry(ascii, len(CREDITS) + 1, CREDITS + b"\0"),
        exif.EXIF: {
            36867: taken,
            37500: exif.Entry(undefined, len(MAKER_NOTE), MAKER_NOTE),
            exif.WIDTH: exif.short(order, 40),
            exif.HEIGHT: exif.short(order, 24),
        },
    }
    if place:
        north = b"".join(exif.rational(order, each).value for each in (52, 30, 1.5))
        directory[exif.GPS] = {
            0: exif.Entry(1, 4, b"\2\3\0\0"),
            1: exif.Entry(ascii, 2, b"N\0"),
            2: exif.Entry(exif.RATIONAL, 3, north),
        }
    block = bytearray(exif.pack(order, directory))
    first = 8 + 2 + 12 * len(directory)
    struct.pack_into(f"{order}I", block, first, len(block))  # the thumbnail's directory
    entries = struct.pack(f"{order}HHHIIHHII", 2, 513, 4, 1, len(block) + 30, 514, 4, 1, len(THUMBNAIL))
    return bytes(block + entries + bytes(30 - len(entries)) + THUMBNAIL)


def pixels() -> np.ndarray:
    rows, columns = np.mgrid[0:24, 0:40]
    return np.dstack([rows * 8, columns * 5, rows + columns]).astype(np.uint8)


def photo(**more: bytes) -> bytes:
    """A JPEG with all of it."""
    resources = struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(IPTC)) + IPTC + bytes(len(IPTC) & 1)
    segment = b"Photoshop 3.0\0" + resources
    buffer = io.BytesIO()
    Image.fromarray(pixels()).save(
        buffer,
        "JPEG",
        quality=95,
        exif=b"Exif\0\0" + more.get("exif", described()),
        xmp=more.get("xmp", XMP + b" " * 2000 + PACKET_END),
        extra=struct.pack(">BBH", 0xFF, 0xED, 2 + len(segment)) + segment,
    )
    return buffer.getvalue()


def says_all(file: bytes, *, turned: bool = True, xmp: bool = True) -> None:
    """That another reader finds it all in a file, upright."""
    with Image.open(io.BytesIO(file)) as image:
        image.load()
        found = image.getexif()
        below = found.get_ifd(ExifTags.IFD.Exif)
        assert found[271] == "Maker"
        assert found.get(exif.ORIENTATION, 1) == 1
        assert (found[exif.X_RESOLUTION], found[exif.UNIT]) == (300, 2)
        assert found[33432].encode("latin-1") == CREDITS
        assert (below[36867], below[37500]) == ("2020:01:02 03:04:05", MAKER_NOTE)
        assert (below[exif.WIDTH], below[exif.HEIGHT]) == ((24, 40) if turned else (40, 24))
        assert found.get_ifd(ExifTags.IFD.GPSInfo)[2] == (52, 30, 1.5)
        assert found.get_ifd(ExifTags.IFD.IFD1) == {}
        if image.format in ("JPEG", "TIFF"):
            assert IptcImagePlugin.getiptcinfo(image) == {(2, 25): b"garden", (2, 120): b"hello"}
        else:
            assert found[exif.IPTC] == IPTC
        assert THUMBNAIL not in file
        assert image.info.get("dpi", (300, 300)) == pytest.approx((300, 300), abs=0.01)
        expected = XMP.replace(b'"6"', b'"1"') + b"\n" + PACKET_END
        assert image.info["xmp"] == expected


def small_of(kind: str, enhancer, rescaler, source: bytes, choice: str) -> bytes:
    """A small file of a photograph in a container."""
    if kind == "PNG":
        return rescaler.downscale(source, metadata=choice).to_bytes()
    picture = reader.read(source, metadata=choice)
    from bdflow import fitting

    plain = kind.startswith("plain ")
    options = {"quality": 50, "domain": "plain"} if plain else {"max_bytes": 2500, "domain": "photos"}
    return fitting.fit(
        picture, enhancer, fitting.Goal(format=kind.removeprefix("plain "), **options)
    ).small.data


@pytest.fixture(scope="module")
def rescaler(tiny):
    return bdflow.load(tiny("tiny-x2"), threads=1, trust=True)


KINDS = ["PNG", "AVIF", "WebP", "JPEG", "plain AVIF", "plain WebP", "plain JPEG"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_file_says_all_that_its_photograph_did(kind, enhancer, rescaler):
    file = small_of(kind, enhancer, rescaler, photo(), "keep")
    says_all(file)
    stripped = small_of(kind, enhancer, rescaler, photo(), "strip")
    for part in (b"Maker", b"garden", b"xpacket", b"2020"):
        assert part not in stripped
        assert part in file
    with Image.open(io.BytesIO(file)) as image, Image.open(io.BytesIO(stripped)) as other:
        if "plain" in kind or kind == "PNG":  # of a budget less is left
            np.testing.assert_array_equal(np.asarray(image), np.asarray(other))
    report = container.byte_report(file)
    assert sum(report.values()) == len(file)
    assert 500 < report["metadata"] < len(file) - report["pixels"]
    assert container.byte_report(stripped)["metadata"] == 0
    try:
        metadata = container.read(file).image.metadata
    except container.NoChunkError as plain:  # the codec's own file
        assert kind != "PNG"
        metadata = plain.picture.metadata
    assert str(metadata) == "EXIF, XMP, IPTC, a place (GPS)"
    assert metadata.dpi == (300, 300)


@pytest.mark.parametrize("purpose", ["fidelity", "look"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("format", ["AVIF", "WebP", "JPEG"])
def test_the_budget_counts_it(format, alpha, purpose, enhancer):
    from bdflow import fitting

    if alpha and format == "JPEG":
        return
    picture = reader.read(np.dstack([pixels(), pixels()[..., 0]]) if alpha else pixels())
    whole = reader.read(photo(), metadata="keep", turn=False).metadata
    described = reader.Picture(picture.rgb, picture.alpha, metadata=whole)
    cost = len(whole.block()) + len(whole.xmp)
    goal = partial(fitting.Goal, format=format, purpose=purpose)
    for budget in (cost + 800, cost + 1200):
        small = fitting.fit(described, enhancer, goal(max_bytes=budget)).small
        assert cost < len(small.data) <= budget
        says_all(small.data, turned=False)
    with pytest.raises(
        BDFlowError, match=r"picture and its metadata in 600 bytes: allow it \d,?\d+"
    ) as refused:
        fitting.fit(described, enhancer, goal(max_bytes=600))
    least = int(str(refused.value).rsplit(" ", 1)[1].replace(",", ""))
    small = fitting.fit(described, enhancer, goal(max_bytes=least)).small
    assert len(small.data) <= least
    says_all(small.data, turned=False)


def test_the_restored_picture_gets_it_again_in_every_format(rescaler, tmp_path):
    small = rescaler.downscale(photo(), metadata="keep")
    for ending in ("png", "jpg", "webp", "avif", "tif"):
        path = tmp_path / f"restored.{ending}"
        strips.write(rescaler.restore_strips(small), path)
        says_all(path.read_bytes())
        bare = tmp_path / f"bare.{ending}"
        strips.write(rescaler.restore_strips(small).keeping("strip"), bare)
        assert b"Maker" not in bare.read_bytes()
        with Image.open(path) as image, Image.open(bare) as other:
            np.testing.assert_array_equal(np.asarray(image), np.asarray(other))
        assert codecs.encode(reader.read(path, metadata="keep"), ending).count(b"garden") == 1
    strips.write(rescaler.restore_strips(small), tmp_path / "restored.bmp")
    with Image.open(tmp_path / "restored.bmp") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_python(rescaler):
    data = rescaler.downscale(photo(), metadata="keep").to_bytes()
    restored = rescaler.upscale(data)
    buffer = io.BytesIO()
    restored.save(buffer, "WEBP", **{name: restored.info[name] for name in ("exif", "xmp")})
    says_all(buffer.getvalue())
    assert restored.info["dpi"] == (300, 300)
    assert not {"exif", "xmp", "dpi"} & rescaler.upscale(data, metadata="strip").info.keys()
    assert not {"exif", "xmp", "dpi"} & rescaler.upscale(rescaler.downscale(photo()).to_bytes()).info.keys()
    found = reader.read(photo(), metadata="keep").metadata
    assert reader.read(Image.open(io.BytesIO(photo())), metadata="keep").metadata == found
    assert reader.read(io.BytesIO(photo()), metadata="keep").metadata == found


def test_what_a_photograph_is_read_from(tmp_path):
    """TIFF, PNG as ImageMagick writes it, WebP: the same as of the JPEG."""
    found = reader.read(photo(), metadata="keep", turn=False).metadata
    whole = Strips.of(pixels())
    buffer = io.BytesIO()
    for order in "<>":
        block = reader.read(photo(exif=described(order)), metadata="keep", turn=False).metadata
        codecs.save(whole.to_pil(), buffer, "tif", metadata=block)
        read = reader.read(buffer.getvalue(), metadata="keep").metadata
        says_all(codecs.encode(reader.Picture(pixels(), metadata=read), "webp"), turned=False)
        whole, buffer = Strips.of(pixels()), io.BytesIO()
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    resources = struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(IPTC)) + IPTC + bytes(len(IPTC) & 1)
    for kind, part in (("exif", b"Exif\0\0" + found.exif), ("iptc", resources), ("xmp", found.xmp)):
        texts.add_text(f"Raw profile type {kind}", f"\n{kind}\n{len(part):8}\n{part.hex()}\n", zip=True)
    Image.fromarray(pixels()).save(tmp_path / "p.png", pnginfo=texts)
    assert reader.read(tmp_path / "p.png", metadata="keep").metadata == found


def test_the_files_own_resolution_decides():
    buffer = io.BytesIO()
    Image.fromarray(pixels()).save(buffer, "JPEG", dpi=(96, 96), exif=described())
    assert reader.read(buffer.getvalue(), metadata="keep").metadata.dpi == (96, 96)
    for format in ("PNG", "JPEG"):
        buffer = io.BytesIO()
        Image.fromarray(pixels()).save(buffer, format, dpi=(72, 72))
        found = reader.read(buffer.getvalue(), metadata="keep").metadata
        assert found.dpi == pytest.approx((72, 72), abs=0.02)
        again = codecs.encode(reader.Picture(pixels(), metadata=found), "png")
        assert reader.read(again, metadata="keep").metadata == found
    buffer = io.BytesIO()
    Image.fromarray(pixels()).save(buffer, "JPEG")
    assert reader.read(buffer.getvalue(), metadata="keep").metadata == NONE


def test_both_resolutions_are_turned_with_the_picture():
    directory = {exif.ORIENTATION: exif.short("<", 6), 271: exif.Entry(2, 6, b"Maker\0")}
    for across, down in ((exif.X_RESOLUTION, 204), (exif.Y_RESOLUTION, 98)):
        directory[across] = exif.rational("<", down)
    for more in ({"dpi": (204, 98)}, {}):
        buffer = io.BytesIO()
        block = b"Exif\0\0" + exif.pack("<", directory)
        Image.fromarray(pixels()).save(buffer, "JPEG", exif=block, **more)
        for turn, dpi in ((True, (98, 204)), (False, (204, 98))):
            assert reader.read(buffer.getvalue(), metadata="keep", turn=turn).metadata.dpi == dpi


def test_notes():
    def notes(**more: bytes) -> tuple[str, ...]:
        picture = reader.read(photo(**more), metadata="keep")
        return picture.notes

    kept = "the place where it was taken (GPS) is kept"
    assert notes() == (kept,)
    assert notes(exif=described(place=False)) == ()
    told = XMP.replace(b" tiff:", b' exif:GPSLatitude="52,30N" tiff:')
    assert notes(exif=described(place=False), xmp=told) == (kept,)
    assert reader.read(photo()).notes == ()
    assert "EXIF dropped that bdflow cannot read" in notes(exif=b"no block at all")
    big = exif.pack(
        "<", {37500: exif.Entry(7, 60_000, bytes(60_000)), 271: exif.Entry(2, 5_100, b"a" * 5_100)}
    )
    assert notes(exif=big) == (f"EXIF of 65,100 bytes dropped: more than {MAX_METADATA:,}",)
    buffer = io.BytesIO()
    Image.fromarray(pixels()).save(buffer, "WEBP", xmp=b"<x>" + b"a" * MAX_METADATA)
    read = reader.read(buffer.getvalue(), metadata="keep")
    assert (read.metadata, read.notes) == (NONE, ("XMP of 65,003 bytes dropped: more than 65,000",))


def test_a_makers_note_stays_where_it_was():
    before, after = described(), reader.read(photo(), metadata="keep").metadata.exif
    assert after.index(MAKER_NOTE) == before.index(MAKER_NOTE)


@given(st.binary(max_size=300), st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_any_block_is_refused_or_copied(tail, head):
    try:
        order, directory = exif.read(io.BytesIO(head + tail), MAX_METADATA)
    except ValueError:
        return
    packed = exif.pack(order, directory)
    assert exif.pack(*exif.read(io.BytesIO(packed), 1 << 20)) == packed


def test_a_block_cannot_grow_in_memory():
    """Entries that all point to the same bytes."""
    count = 2000
    head = struct.pack("<2sHIH", b"II", 42, 8, count)
    entries = b"".join(struct.pack("<HHII", 1000 + tag, 7, 60_000, 8) for tag in range(count))
    with pytest.raises(exif.TooLargeError):
        exif.read(io.BytesIO(head + entries + bytes(60_000)), MAX_METADATA)


def test_every_browser_and_libavif_show_it(enhancer, browser):
    """The AVIF with metadata, whose boxes are our own."""
    file = small_of("plain AVIF", enhancer, None, photo(), "keep")
    page = browser.new_page()
    size = page.evaluate(
        """async (data) => {
            const image = new Image();
            image.src = `data:image/avif;base64,${data}`;
            await image.decode();
            return [image.naturalWidth, image.naturalHeight];
        }""",
        base64.b64encode(file).decode(),
    )
    page.close()
    assert size == [24, 40]
    imagecodecs = pytest.importorskip("imagecodecs")
    with Image.open(io.BytesIO(file)) as image:
        np.testing.assert_array_equal(imagecodecs.avif_decode(file), np.asarray(image))


def test_the_command(shell, restoring):
    Path("photo.jpg").write_bytes(photo())
    code, _, err = shell("downscale", "photo.jpg", "-m", "tiny-x2", "--metadata", "keep")
    share = container.byte_report(Path("photo.x2.png").read_bytes())["metadata"]
    size = Path("photo.x2.png").stat().st_size
    assert code == 0
    assert err == (
        "note: the place where it was taken (GPS) is kept\n"
        f"photo.x2.png: 24x40 to 12x20, {size:,} bytes ({share:,} of them metadata), by tiny-x2\n"
    )
    assert b"metadata  EXIF, XMP, IPTC, a place (GPS)" in shell("info", "photo.x2.png")[1]
    assert shell("upscale", "photo.x2.png", "-o", "back.jpg")[0] == 0
    says_all(Path("back.jpg").read_bytes())
    assert shell("upscale", "photo.x2.png", "-o", "bare.jpg", "--metadata", "strip")[0] == 0
    assert b"Maker" not in Path("bare.jpg").read_bytes()
    assert shell("downscale", "photo.jpg", "-m", "tiny-x2", "-o", "bare.png")[2].endswith(
        " bytes, by tiny-x2\n"
    )
    assert b"Maker" not in Path("bare.png").read_bytes()
    code, _, err = shell("downscale", "photo.jpg", "--bytes", "2500", "--metadata", "keep")
    assert code == 0
    assert " of them metadata), restored as " in err
    assert Path("photo.bd.avif").stat().st_size <= 2500


def test_batches(shell, restoring):
    Path("in").mkdir()
    Path("in/a.jpg").write_bytes(photo())
    Path("in/b.jpg").write_bytes(photo())
    for more in (("-m", "tiny-x2"), ("--bytes", "2500", "--format", "webp")):
        out = f"out{len(more)}"
        code, _, err = shell(
            "downscale", "in", "-o", out, *more, "--metadata", "keep", "--json", f"{out}.log"
        )
        assert code == 0
        assert "note, 2 times: the place where it was taken (GPS) is kept" in err
        lines = [json.loads(line) for line in Path(f"{out}.log").read_text().splitlines()]
        assert lines[-1]["metadata"] == sum(line["metadata"] for line in lines[:-1]) > 1000
        assert f" ({lines[-1]['metadata']:,} of them metadata)" in err
        assert shell("upscale", out, "-o", f"{out}-back")[0] == 0
        says_all(Path(f"{out}-back/a.restored.png").read_bytes())
        assert shell("upscale", out, "-o", f"{out}-bare", "--metadata", "strip")[0] == 0
        assert b"Maker" not in Path(f"{out}-bare/a.restored.png").read_bytes()


def test_metadata_and_nothing_else_are_true():
    assert not Metadata()
    assert Metadata(xmp=b"x")
    assert Metadata().jpeg_segments() == b""
    assert Metadata().png_chunks() == []
