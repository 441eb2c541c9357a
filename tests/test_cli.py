"""Every verb as typed: what it writes, what it says, and its exit status."""

import dataclasses
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import file
from PIL import Image
from small_files import repainted, saved_again
from tiny_models import graphs_of

import bdflow
from bdflow import zoo
from bdflow.runtime.rescaler import Rescaler


def pixels(source) -> np.ndarray:
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        return np.asarray(image)


def test_there_and_back_beside_the_photograph(shell, built_in, photo):
    status, out, err = shell("downscale", photo, "-x", "2")
    size = Path("photo.x2.png").stat().st_size
    assert (status, out, err) == (0, b"", f"photo.x2.png: 21x19 to 11x10, {size:,} bytes, by tiny-x2\n")
    expected = bdflow.downscale(photo, scale=2)
    assert Path("photo.x2.png").read_bytes() == expected.to_bytes()
    assert shell("upscale", "photo.x2.png") == (0, b"", "photo.restored.png: 21x19\n")
    np.testing.assert_array_equal(pixels("photo.restored.png"), np.asarray(bdflow.upscale(expected)))
    assert sorted(path.name for path in Path().iterdir()) == [
        "photo.png",
        "photo.restored.png",
        "photo.x2.png",
    ]


def test_the_scale_is_8_unless_said_or_the_model_has_another(shell, built_in, tiny, photo):
    status, _, err = shell("downscale", photo)
    assert (status, err) == (1, "bdflow: no built-in model shrinks 8 times; there is x2 and x4\n")
    assert shell("downscale", photo, "-m", "tiny-x4")[0] == 0
    assert Path("photo.x4.png").exists()
    (built_in / "tiny-x8").symlink_to(tiny("tiny-x8"), target_is_directory=True)
    zoo.list_built_in()
    assert shell("downscale", photo)[0] == 0
    assert Path("photo.x8.png").exists()


def test_names_beside_the_input(shell, built_in, photo):
    Path("a.b").mkdir()
    for name, small, restored in (
        ("a.b/my.photo.jpeg", "a.b/my.photo.x2.png", "a.b/my.photo.restored.png"),
        ("a.b/bare", "a.b/bare.x2.png", "a.b/bare.restored.png"),
    ):
        Image.fromarray(pixels(photo)).save(name, "JPEG")
        assert shell("downscale", name, "-x2")[0] == 0
        assert Path(small).exists()
        assert shell("upscale", small)[0] == 0
        assert Path(restored).exists()


def test_hyphens_are_standard_input_and_output(shell, built_in, photo):
    status, small, err = shell("downscale", "-", "-x", "2", stdin=photo.read_bytes())
    assert (status, err) == (0, "")
    assert small == bdflow.downscale(photo, scale=2).to_bytes()
    status, restored, err = shell("upscale", "-", stdin=small)
    assert (status, err) == (0, "")
    np.testing.assert_array_equal(pixels(restored), np.asarray(bdflow.upscale(small)))
    assert shell("downscale", photo, "-x", "2", "-o", "-") == (0, small, "")
    status, _, err = shell("upscale", "-", "-o", "out.png", stdin=small)
    assert (status, err) == (0, "out.png: 21x19\n")
    assert sorted(path.name for path in Path().iterdir()) == ["out.png", "photo.png"]


@pytest.mark.parametrize("command", [("downscale", "-"), ("upscale", "-"), ("mask", "-")])
def test_a_terminal_gets_no_picture(shell, built_in, photo, monkeypatch, command):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    model = ("-x", "2") if command[0] == "downscale" else ()
    status, out, err = shell(*command, *model, stdin=photo.read_bytes())
    assert (status, out) == (1, b"")
    assert err == "bdflow: a picture is nothing for a terminal: name a file (-o FILE) or a pipe\n"


@pytest.mark.parametrize(("ending", "format"), [("jpg", "JPEG"), ("webp", "WEBP"), ("tif", "TIFF")])
def test_the_ending_names_the_format_of_the_restored_picture(shell, small, ending, format):
    assert shell("upscale", small, "-o", f"out.{ending}") == (0, b"", f"out.{ending}: 21x19\n")
    with Image.open(f"out.{ending}") as image:
        assert (image.format, image.size) == (format, (21, 19))


def test_a_tile_and_a_device_can_be_chosen(shell, built_in, photo, monkeypatch):
    assert shell("downscale", photo, "-x", "2")[0] == 0
    assert shell("upscale", "photo.x2.png")[0] == 0
    plain, restored = pixels("photo.x2.png").astype(int), pixels("photo.restored.png").astype(int)
    chosen, real = [], Rescaler.__init__
    monkeypatch.setattr(
        Rescaler,
        "__init__",
        lambda self, model, computing: (chosen.append(computing), real(self, model, computing))[1],
    )
    options = ("--tile", "26", "--device", "cpu", "--threads", "1", "--force")
    assert shell("downscale", photo, "-x", "2", *options)[0] == 0
    assert np.abs(pixels("photo.x2.png") - plain).max() <= 1
    assert shell("upscale", "photo.x2.png", *options)[0] == 0
    assert np.abs(pixels("photo.restored.png") - restored).max() <= 2
    assert shell("downscale", photo, "-o", "out/", "-x", "2", "--jobs", "1", *options)[0] == 0
    assert shell("upscale", "out/photo.x2.png", "-o", "out2/", "--jobs", "1", *options)[0] == 0
    assert [dataclasses.asdict(one) for one in chosen] == [
        {"tile": 26, "threads": 1, "device": "cpu", "backend": "onnxruntime"}
    ] * 4
    np.testing.assert_array_equal(pixels("out2/photo.restored.png"), pixels("photo.restored.png"))
    status, _, err = shell("downscale", photo, "-x", "2", "--tile", "25", "--force")
    assert (status, err) == (
        1, "bdflow: a tile of 25 pixels is too small for model tiny-x2: take 26 or more\n"
    )  # fmt: skip
    status, _, err = shell("downscale", photo, "-x", "2", "--device", "directml", "--force")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("bdflow: the installed ONNX Runtime cannot use directml: pip install ")


def test_nothing_is_overwritten_unless_forced(shell, built_in, photo, small):
    small.rename("other.png")
    for name in ("photo.x2.png", "photo.restored.png", "photo.mask.png", "out.json"):
        Path(name).write_text("mine")
    Path("pictures").mkdir()
    commands = [
        ("downscale", photo, "-x", "2"),
        ("upscale", "other.png", "-o", "photo.restored.png"),
        ("mask", photo),
        ("evaluate", "tiny-x2", "pictures", "--json", "out.json"),
    ]
    for command in commands:
        status, out, err = shell(*command)
        assert (status, out) == (1, b"")
        assert err.endswith(": exists already: choose another name or allow overwriting (--force)\n")
        assert err.count("\n") == 1
    assert Path("photo.x2.png").read_text() == "mine"
    assert shell("downscale", photo, "-x", "2", "--force")[0] == 0
    assert shell("upscale", "photo.x2.png", "-f")[0] == 0
    assert shell("mask", photo, "-f")[0] == 0
    assert pixels("photo.restored.png").shape == (19, 21, 3)


def test_a_picture_is_not_replaced_by_what_is_made_of_it(shell, built_in, small):
    data = small.read_bytes()
    assert shell("downscale", small, "-x", "2", "--force")[0] == 0
    assert Path("photo.x2.x2.png").exists()  # a small file is shrunk as any picture, under its whole name
    for verb in ("downscale", "upscale"):
        scale = ("-x", "2") if verb == "downscale" else ()
        status, _, err = shell(verb, small, *scale, "-o", small, "--force")
        assert (status, err) == (
            1,
            f"bdflow: {small}: would replace the picture that it is made of: choose another name\n",
        )
    assert small.read_bytes() == data


def test_quality_is_for_lossy_formats(shell, small):
    for quality in (20, 90):
        assert shell("upscale", small, "-o", f"{quality}.jpg", "--quality", str(quality))[0] == 0
    assert Path("20.jpg").stat().st_size < Path("90.jpg").stat().st_size
    for target in ("out.png", "-", "out/"):
        status, _, err = shell("upscale", small, "-o", target, "--quality", "90")
        assert (status, err.count("\n")) == (1, 1)
        assert "takes no quality: leave it out" in err
    assert shell("upscale", small, "-o", "a.jpg", "--quality", "0")[0] == 2
    assert not Path("out.png").exists()


def test_a_fault_of_the_input_is_told_before_one_of_the_output(shell, small):
    Path("photo.restored.png").write_text("mine")
    for target in ((), ("-o", "no/out.xyz")):
        for name, message in (
            ("photo.png", "photo.png: no bdflow chunk in"),
            ("none.png", "none.png: no such f"),
        ):
            assert shell("upscale", name, *target)[2].startswith(f"bdflow: {message}")


def test_what_the_output_cannot_hold_is_told_before_the_work(shell, built_in, monkeypatch):
    Image.new("RGBA", (9, 9)).save("glass.png")
    assert shell("downscale", "glass.png", "-x", "2")[0] == 0
    monkeypatch.setattr(
        "bdflow.runtime.rescaler.Rescaler.restore", lambda *_, **__: pytest.fail("worked in vain")
    )
    for name, message in (("a.jpg", "jpg cannot hold transparency"), ("a.xyz", "cannot write 'xyz': choose")):
        status, out, err = shell("upscale", "glass.x2.png", "-o", name)
        assert (status, out, err.count("\n")) == (1, b"", 1)
        assert err.startswith(f"bdflow: {message}")


def test_sigma_and_seed_draw(shell, small):
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        shell("upscale", small, "--sigma", "0.5", "--seed", seed, "-o", f"{name}.png")
    shell("upscale", small, "-o", "plain.png")
    a, b, c, plain = (pixels(f"{name}.png") for name in ("a", "b", "c", "plain"))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert (a != plain).any()


def test_a_picture_within_the_limit_of_pixels_passes(shell, built_in, photo):
    most = ("--max-pixels", "399")
    assert shell("downscale", photo, "-x", "2", *most)[0] == 0
    assert shell("upscale", "photo.x2.png", *most)[0] == 0
    assert shell("info", "photo.x2.png", *most)[0] == 0


def test_notes_are_said(shell, built_in):
    Path("print.jpg").write_bytes(file(Image.new("CMYK", (9, 9)), "JPEG"))
    assert shell("downscale", "print.jpg", "-x", "2")[2].startswith(
        "note: CMYK converted to RGB\nprint.x2.png: "
    )


def test_a_stripped_file_needs_its_model_and_warns(shell, small):
    Path("bare.png").write_bytes(saved_again(small.read_bytes(), "PNG"))
    why = "bare.png: no bdflow chunk in this file: it was re-saved or converted, or never made by bdflow."
    how = "If bdflow made it, name the model (--model) to restore it from its pixels alone"
    assert shell("upscale", "bare.png") == (1, b"", f"bdflow: {why} {how}\n")
    assert shell("upscale", "bare.png", "-m", "tiny-x2") == (
        0,
        b"",
        f"bdflow: warning: {why} Restoring from the pixels alone, at 22x20\nbare.restored.png: 22x20\n",
    )


def test_edited_pixels_warn(shell, small):
    Path("edited.png").write_bytes(repainted(small.read_bytes()))
    status, _, err = shell("upscale", "edited.png")
    assert status == 0
    assert err.startswith("bdflow: warning: the small picture's pixels were changed since it was made")
    assert b"pixels    changed since it was made\n" in shell("info", "edited.png")[1]


def test_a_file_of_a_model_that_is_not_built_in_is_restored_with_its_folder(shell, built_in, tiny, photo):
    assert shell("downscale", photo, "-m", tiny("tiny-x8"), "--trust")[0] == 0
    status, _, err = shell("upscale", "photo.x8.png")
    assert status == 1
    assert re.fullmatch(
        r"bdflow: made by model 'tiny-x8' \(weights [0-9a-f]{16}\), which does not come with this bdflow:"
        r" get that model's folder and name it \(--model FOLDER --trust\)\n",
        err,
    )
    assert shell("upscale", "photo.x8.png", "-m", tiny("tiny-x8"), "--trust")[0] == 0
    assert shell("upscale", "photo.x8.png", "-m", "tiny-x2", "-f")[2].startswith(
        "bdflow: made by model 'tiny-x8'"
    )


@pytest.mark.parametrize("source", ["photo.x2.png", "-"])
def test_info_accounts_for_every_byte(shell, small, source):
    data = small.read_bytes()
    status, out, err = shell("info", source, stdin=data)
    weights = bdflow.load("tiny-x2").model.weights_sha256[:16]
    lines = out.decode().splitlines()
    assert (status, err) == (0, "")
    assert lines[:4] == [
        f"model     tiny-x2 (weights {weights})",
        "restores  21x19 from 11x10 (x2)",
        "boundary  1 bit",
        "pixels    as they were made",
    ]
    counts = [int(line.split(" bytes")[0].replace(",", "")) for line in lines[4:]]
    assert sum(counts[:-1]) == counts[-1] == len(data)
    assert lines[-1].endswith(f" bytes  in all, {8 * len(data) / 399:.4f} bits per pixel")


def test_info_counts_the_bits_of_the_boundary_map(shell, built_in, tiny, photo):
    for model, bits in (("tiny-x4", b"2 bits"), (tiny("tiny-x8"), b"none")):
        shell("downscale", photo, "-m", model, "--trust", "-o", "small.png", "-f")
        assert b"boundary  " + bits + b"\n" in shell("info", "small.png")[1]


def test_models_are_listed(shell, built_in):
    status, out, err = shell("models")
    assert (status, err) == (0, "")
    assert re.findall(r"│ (tiny-\S+) │ (x\d) ", out.decode()) == [("tiny-x2", "x2"), ("tiny-x4", "x4")]


def test_demo_writes_three_pictures_and_prints_a_table(shell, tiny, built_in, photo, monkeypatch):
    (built_in / "portraits-x8").symlink_to(tiny("tiny-x8"), target_is_directory=True)
    zoo.list_built_in()
    Image.fromarray(pixels(photo).repeat(4, 0).repeat(4, 1)).save("face.png")
    monkeypatch.setattr("bdflow.evaluation.demo.PHOTOGRAPH", Path("face.png"))
    status, out, err = shell("demo", "-o", "made/here")
    assert (status, err) == (0, "")
    text = out.decode()
    for row in ("bdflow tiny-x8, PNG", "bicubic x8 as PNG"):
        assert f"│ {row} " in text
    assert "PNG: 84x76 to 11x10 in " in text
    # There is no network for thumbnails among these; test_enhancer.py has one.
    assert "without bdflow's AVIF: this bdflow comes without a network" in text
    names = ["face.x8.png", "face.x8.restored.png", "side-by-side.png"]
    assert sorted(path.name for path in Path("made/here").iterdir()) == names
    restored = np.asarray(bdflow.upscale("made/here/face.x8.png", model="portraits-x8"))
    assert restored.shape == (76, 84, 3)
    np.testing.assert_array_equal(pixels("made/here/face.x8.restored.png"), restored)
    Image.fromarray(pixels(photo).repeat(2, 0).repeat(2, 1)).save("my [b]own.png")
    status, out, err = shell("demo", "my [b]own.png", "-o", "mine")
    assert (status, err) == (0, "")
    assert "my [b]own.png, 42x38" in out.decode()
    names = ["my [b]own.x8.png", "my [b]own.x8.restored.png", "side-by-side.png"]
    assert sorted(path.name for path in Path("mine").iterdir()) == names
    for wrong, message in (
        ("no.png", "no such file or folder"),
        ("tiny.png", "9x10 is too small to measure"),
    ):
        Image.new("RGB", (9, 10)).save("tiny.png")
        assert shell("demo", wrong, "-o", "none") == (1, b"", f"bdflow: {wrong}: {message}\n")
        assert not Path("none").exists()
    status, out, err = shell("demo", "-o", "face.png")
    assert (status, out) == (1, b"")
    assert err.startswith("bdflow: face.png: no such folder can be made: ")


def test_evaluate_prints_a_table_and_writes_json_and_card(shell, built_in, tiny, photo, monkeypatch):
    monkeypatch.setattr(
        "bdflow.evaluation.measure.learned", lambda *names, data=None: ({}, {"lpips": "not wanted"})
    )
    folder = Path("model")
    folder.mkdir()
    for path in tiny("tiny-x2").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    Path("pictures").mkdir()
    for name in ("a", "b"):
        Path(f"pictures/{name}.png").write_bytes(photo.read_bytes())
    status, out, err = shell(
        "evaluate", "model", "pictures", "--trust", "--json", "out.json", "--card", "--limit", "1"
    )
    assert status == 0
    assert err.splitlines()[0] == "without LPIPS: not wanted"
    assert "work/pictures: 1 picture, stored and read back" in out.decode()
    result = json.loads(Path("out.json").read_text())
    assert list(result["folders"]["work/pictures"]["pictures"]) == ["a.png"]
    assert json.loads((folder / "evaluation.json").read_text()) == result
    assert (folder / "card.md").read_text().startswith("# tiny-x2\n")


def test_mask_draws_the_steps(shell, photo):
    status, out, err = shell("mask", photo)
    assert (status, out) == (0, b"")
    height, width = pixels("photo.mask.png").shape[:2]
    assert err == f"photo.mask.png: {width}x{height}\n"
    assert width > 3 * 21
    status, out, err = shell("mask", "-", "-x", "2", "--bits", "3", "--no-suppress", stdin=photo.read_bytes())
    assert (status, err) == (0, "")
    assert pixels(out).shape == (height, width, 3)
    assert (pixels(out) != pixels("photo.mask.png")).any()


def test_a_model_is_trained_exported_and_used(shell, tiny, photo, pictures, monkeypatch):
    monkeypatch.setattr("bdflow.train.export.write_graph", graphs_of(tiny("tiny-x2")))
    Path("own.toml").write_text("""
        name = "own-x2"
        model = {scale = 2, features = 4, blocks = 1}
        loss = {lpips = 0}
        data = {crop = 16, batch_size = 2, validation = 0}
        optim = {steps = 9}
    """)
    train = ("train", "own.toml", "--data", pictures, "--out", "run", "--steps", "2", "--device", "cpu")
    assert shell(*train, "--precision", "32-true")[0] == 0
    status, _, err = shell("export", "run", "-o", "model")
    assert (status, err[:17]) == (0, "model: exported; ")
    assert shell("downscale", photo, "-m", "model", "--trust")[0] == 0
    assert b"model     own-x2 " in shell("info", "photo.x2.png")[1]
    assert shell("upscale", "photo.x2.png", "-m", "model", "--trust")[0] == 0


def test_the_training_half_is_asked_for_where_it_is_missing(shell, photo, monkeypatch):
    monkeypatch.setattr(
        "bdflow.system.extras.find_spec", lambda name: None if name in ("msgspec", "onnx") else name
    )
    for command in [("mask", photo), ("train", "--data", ".", "--out", "run"), ("export", ".", "-o", "m")]:
        message = 'bdflow: this needs msgspec and onnx: pip install "bdflow[train]"\n'
        assert shell(*command) == (1, b"", message)
    monkeypatch.setattr("bdflow.system.extras.find_spec", lambda name: None)
    message = 'bdflow: --paper needs torch and safetensors: pip install "bdflow[torch]"\n'
    assert shell("models", "--paper") == (1, b"", message)
