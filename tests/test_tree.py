"""What a batch takes, how its results are called, and what counts as done."""

import fcntl
import os
from pathlib import Path

import pytest

from bdflow.batch.tree import Naming, Plan, plan
from bdflow.cli.arguments import small_stem
from bdflow.errors import BDFlowError

X8 = Naming(".x8.png", lambda name: Path(name).stem)
RESTORED = Naming(".restored.png", small_stem)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("x")


def planned(*inputs: str, naming: Naming = X8, recursive=True, resume=False, force=False) -> Plan:
    return plan(inputs, "out", naming, recursive=recursive, resume=resume, force=force)


def pairs(found: Plan) -> dict[str, str]:
    """Picture to result."""
    return {
        str((folder.source or Path()) / item.name): str(folder.target / item.result)
        for folder in found.folders
        for item in folder.items
    }


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("naming", "names", "results"),
    [
        (X8, ["a.jpg", "b.c.png"], ["a.x8.png", "b.c.x8.png"]),
        (X8, ["a.jpg", "a.png", "b.png"], ["a.jpg.x8.png", "a.png.x8.png", "b.x8.png"]),
        (X8, ["A.jpg", "a.png"], ["A.jpg.x8.png", "a.png.x8.png"]),
        (X8, ["a.JPG", "a.jpg", "b.jpg"], ["a.JPG.0d93f09c.x8.png", "a.jpg.9b34b216.x8.png", "b.x8.png"]),
        (X8, ["\u00e9.jpg", "e\u0301.png"], ["\u00e9.jpg.x8.png", "e\u0301.png.x8.png"]),
        (X8, ["a.jpg", "a.x8.png"], ["a.x8.png", "a.x8.x8.png"]),
        (
            X8,  # the longer name of one is the shorter name of another
            ["a.jpg", "a.jpg.gif", "a.png"],
            ["a.jpg.x8.png", "a.jpg.gif.x8.png", "a.png.x8.png"],
        ),
        (RESTORED, ["a.x8.png", "b.png"], ["a.restored.png", "b.restored.png"]),
        (RESTORED, ["a.x8.png", "a.x4.png"], ["a.x8.png.restored.png", "a.x4.png.restored.png"]),
    ],
)
def test_no_two_results_share_a_name(naming, names, results):
    assert naming.results(names) == dict(zip(names, results, strict=True))
    assert naming.results(names[::-1]) == dict(zip(names, results, strict=True))


def test_a_tree_is_listed_in_order_and_what_is_no_picture_is_counted():
    touch("in/b.png", "in/a.JPG", "in/notes.txt", "in/.hidden.png", "in/.git/c.png", "in/deep/er/d.webp")
    os.mkfifo("in/pipe.png")
    found = planned("in")
    assert pairs(found) == {
        "in/a.JPG": "out/a.x8.png",
        "in/b.png": "out/b.x8.png",
        "in/deep/er/d.webp": "out/deep/er/d.x8.png",
    }
    assert list(pairs(found)) == sorted(pairs(found))
    assert (len(found), found.done, found.failures) == (3, 0, {})
    assert found.skipped == {
        "in/notes.txt": "no picture by the ending .txt",
        "in/.hidden.png": "hidden",
        "in/pipe.png": "no ordinary file",
    }
    assert found.closed == {"in/.git": "hidden"}
    found = planned("in", recursive=False)
    assert list(pairs(found)) == ["in/a.JPG", "in/b.png"]
    assert len(found.closed) == 2


def test_several_inputs_keep_their_names():
    touch("in/a.png", "p/q/a.png", "x/y/b.jpg")
    assert pairs(planned("in", "p/q", "x/y/b.jpg", "in")) == {
        "x/y/b.jpg": "out/b.x8.png",
        "in/a.png": "out/in/a.x8.png",
        "p/q/a.png": "out/q/a.x8.png",
    }
    os.chdir("in")
    assert pairs(planned(".", "../p/q"))["a.png"] == "out/in/a.x8.png"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["a/x.png", "b/x.png"], "a/x.png and b/x.png have one name: take two runs, into two folders"),
        (["a/d", "b/d"], "a/d and b/d have one name: "),
        (["out"], "out is or lies in the folder of the results: name another (-o FOLDER)"),
        (["out/in"], "out/in is or lies in the folder of the results: "),
        (["link"], "link is or lies in the folder of the results: "),
        (["empty"], "empty: no pictures in it"),
        (["a"], "a: no pictures in it; 1 folders in it were not entered (--recursive)"),
    ],
)
def test_what_cannot_be_planned(inputs, message):
    touch("a/d/x.png", "b/d/x.png", "out/in/x.png", "empty/x.txt")
    Path("link").symlink_to("out/in")
    with pytest.raises(BDFlowError) as caught:
        planned(*inputs, recursive=False)
    assert str(caught.value).startswith(message)


def test_a_file_is_no_folder_for_results():
    touch("in/a.png", "out")
    with pytest.raises(BDFlowError, match=r"^out: it is no folder"):
        planned("in")


@pytest.mark.parametrize("as_link", [False, True])
def test_results_inside_the_folder_of_pictures_are_not_taken_for_pictures(as_link):
    touch("in/a.png", "in/small/made.png")
    if as_link:
        Path("out").symlink_to("in/small")
        found = planned("in")
    else:
        found = plan(["in"], "in/small", X8, recursive=True, resume=False, force=False)
    assert list(pairs(found)) == ["in/a.png"]


def test_links_to_folders_are_not_followed_and_links_to_files_are():
    touch("in/deep/a.png", "other/b.png")
    Path("in/deep/loop").symlink_to("..", target_is_directory=True)
    Path("in/other").symlink_to("../other", target_is_directory=True)
    Path("in/b.png").symlink_to("../other/b.png")
    Path("in/nowhere.png").symlink_to("nothing")
    found = planned("in")
    assert list(pairs(found)) == ["in/b.png", "in/nowhere.png", "in/deep/a.png"]
    assert len(found.closed) == 2
    assert list(pairs(planned("in/other"))) == ["in/other/b.png"]  # but one that is named is entered


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_folder_without_permission_is_a_failure():
    touch("in/a.png", "in/locked/b.png")
    Path("in/locked").chmod(0)
    found = planned("in")
    Path("in/locked").chmod(0o700)
    assert found.failures == {"in/locked": "no permission"}
    assert list(pairs(found)) == ["in/a.png"]


def test_a_folder_that_vanishes_while_it_is_listed_is_a_failure(monkeypatch):
    touch("in/a.png", "in/deep/b.png")
    scandir = os.scandir

    def losing(path):
        if Path(path).name == "deep":
            raise FileNotFoundError(2, "")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", losing)
    found = planned("in")
    assert found.failures == {"in/deep": "no such file or folder"}
    assert list(pairs(found)) == ["in/a.png"]


def test_what_is_done():
    touch("in/done.png", "in/older.png", "in/empty.png", "in/none.png")
    touch("out/done.x8.png", "out/older.x8.png")
    Path("out/empty.x8.png").touch()
    for name, second in (("in/done.png", 5), ("out/done.x8.png", 5), ("in/older.png", 6)):
        os.utime(name, (second, second))
    os.utime("out/older.x8.png", (5, 5))
    found = planned("in", resume=True)
    (folder,) = found.folders
    assert [(item.name, item.replace) for item in folder.items] == [
        ("empty.png", True),
        ("none.png", False),
        ("older.png", True),
    ]
    assert (found.done, found.failures) == (1, {})
    found = planned("in", force=True)
    assert [item.replace for item in found.folders[0].items] == [True] * 4
    found = planned("in")
    assert list(pairs(found)) == ["in/none.png"]
    assert found.failures["in/older.png"] == (
        "out/older.x8.png exists already: skip what is done (--resume) or allow overwriting (--force)"
    )
    assert len(found.failures) == 3


def test_a_named_picture_never_gives_way_to_a_result():
    touch("a.png", "a.x8.png")
    found = plan(["a.png", "a.x8.png"], ".", X8, recursive=False, resume=False, force=True)
    assert found.failures == {"a.png": "its result, a.x8.png, would replace one of the pictures"}
    assert pairs(found) == {"a.x8.png": "a.x8.x8.png"}


def test_temporary_files_of_the_dead_are_deleted_and_no_others():
    dead, alive = (f".bdflow-{digit * 16}.tmp" for digit in "0a")
    mine = [".bdflow-mine.tmp", "a.tmp"]
    touch("in/a.png", "in/deep/b.png", f"out/{dead}", f"out/{alive}", f"out/deep/{dead}")
    touch(*(f"out/{name}" for name in mine))
    with Path("out", alive).open("ab") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        planned("in")
    left = sorted(path.name for path in Path("out").rglob("*") if path.is_file())
    assert left == sorted([alive, *mine])


def test_each_folder_is_listed_once_and_no_picture_is_opened(monkeypatch):
    touch(*(f"in/{folder}/{number}.png" for folder in range(5) for number in range(40)))
    listed, opened = [], []
    scandir, real = os.scandir, Path.open
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    monkeypatch.setattr(Path, "open", lambda *a, **k: opened.append(a) or real(*a, **k))
    assert len(planned("in")) == 200
    assert sorted(listed) == sorted(
        {"in", "out", *(f"{side}/{i}" for side in ("in", "out") for i in range(5))}
    )
    assert not opened


def test_every_ending_that_is_read_is_taken():
    endings = ("jfif", "jpe", "mpo", "apng", "pbm", "pnm", "j2k", "jpf", "jpx", "JPC", "avifs")
    touch(*(f"in/{ending}.{ending}" for ending in endings), "in/none", "in/a.mov")
    found = planned("in")
    assert sorted(pairs(found)) == sorted(f"in/{ending}.{ending}" for ending in endings)
    assert found.skipped == {"in/none": "no ending", "in/a.mov": "no picture by the ending .mov"}


def test_a_result_whose_picture_has_another_name_now_is_stale():
    touch("in/a.jpg", "in/b.jpg", "out/a.x8.png", "out/b.jpg.x8.png", "out/c.x8.png")
    assert planned("in").stale == ["out/b.jpg.x8.png"]  # there was a b.png
    touch("in/a.png")
    found = planned("in", resume=True)
    assert pairs(found)["in/a.jpg"] == "out/a.jpg.x8.png"
    assert found.stale == ["out/a.x8.png", "out/b.jpg.x8.png"]
