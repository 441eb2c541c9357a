"""Several processes: what travels between them, and what a fork leaves behind."""

import multiprocessing
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from pictures import smooth
from small_files import assert_same, small

import bdflow
from bdflow import fitting
from bdflow.errors import BDFlowError
from bdflow.fitting.search import TooFewBytesError
from bdflow.pictures.reader import Picture
from bdflow.runtime import backends
from bdflow.runtime.computing import Computing
from bdflow.runtime.restorer import Restorer
from bdflow.smallfile import container


def there_and_back(thing):
    return pickle.loads(pickle.dumps(thing))


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_every_error_travels():
    picture = Picture(smooth(3, 4))
    given = {
        container.NoChunkError: ("no chunk", picture, "a.jpg", "JPEG", 75.0),
        TooFewBytesError: ("too few", 300),
    }
    kinds = {kind for kind in subclasses(Exception) if kind.__module__.startswith("bdflow")}
    assert kinds >= {BDFlowError, container.NoChunkError}
    for kind in kinds:
        error = kind(*given.get(kind, ("a line",)))
        back = there_and_back(error)
        assert (type(back), str(back)) == (kind, str(error))
    back = there_and_back(container.NoChunkError(*given[container.NoChunkError]))
    np.testing.assert_array_equal(back.picture.rgb, picture.rgb)
    assert (back.name, back.format, back.quality) == ("a.jpg", "JPEG", 75.0)
    assert there_and_back(TooFewBytesError("too few", 300)).least == 300


def test_every_result_travels(enhancer):
    made = small()
    assert_same(there_and_back(made), made)
    fitted = fitting.fit(Picture(smooth()), enhancer, fitting.Goal(quality=50))
    back = there_and_back(fitted)
    assert (back.psnr, back.small.data, back.small.gray) == (
        fitted.psnr,
        fitted.small.data,
        fitted.small.gray,
    )


def test_models_are_loaded_anew_over_there(restoring, tiny):
    photo = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
    for rescaler in (bdflow.load("tiny-x2", threads=1), bdflow.load(tiny("tiny-x8"), trust=True, threads=1)):
        rescaler.downscale(photo)
        back = there_and_back(rescaler)
        assert back.model == rescaler.model
        assert_same(back.downscale(photo), rescaler.downscale(photo))
    assert pickle.dumps(bdflow.load("tiny-x2").model).count(os.fsencode(restoring)) == 0  # by its name alone
    for restorer in (
        Restorer(computing=Computing(threads=1)),
        Restorer("tiny-x2", computing=Computing(threads=1)),
    ):
        data = bdflow.downscale(photo, scale=2, threads=1).to_bytes()
        rescaler, accepted, _ = there_and_back(restorer).accept(data)
        assert rescaler.restore(accepted) == bdflow.upscale(data, threads=1)
    thumbnail = bdflow.fit(photo, quality=40, threads=1)
    enhancer, accepted, _ = there_and_back(Restorer(computing=Computing(threads=1))).accept(thumbnail)
    assert there_and_back(enhancer).restore(accepted) == bdflow.upscale(thumbnail, threads=1)


def test_other_weights_over_there_are_refused(built_in):
    find_again, (reference, _) = bdflow.load("tiny-x2").model.__reduce__()
    with pytest.raises(BDFlowError, match="other weights here: install the same bdflow everywhere"):
        find_again(reference, "0" * 64)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_gives_errors_back(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    with multiprocessing.get_context(method).Pool(1) as pool:
        results = pool.map_async(container.read, [np.zeros((2, 2, 3), np.uint8)])
        with pytest.raises(container.NoChunkError, match="Pixels alone"):
            results.get(120)


FORKING = """
import os, signal, sys
import numpy as np
import bdflow
from bdflow.errors import BDFlowError

signal.alarm(60)
model = bdflow.load(sys.argv[1], trust=True, threads=2, backend=sys.argv[2])
photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
expected = model.downscale(photo).to_bytes()
for computes in (False, True):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        if not computes:
            sys.exit(7)  # the interpreter's whole end, as in gunicorn's workers
        try:
            sys.exit(7 if model.downscale(photo).to_bytes() == expected else 8)
        except BDFlowError as error:
            print(error)
            sys.exit(9)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
assert model.downscale(photo).to_bytes() == expected
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_a_fork_after_a_network_has_run(tiny, backend):
    command = [sys.executable, "-c", FORKING, tiny("tiny-x2"), backend]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    refused = f"{backends.forked('torch')}\n9\n"
    assert (done.stdout, done.returncode) == ("7\n" + ("7\n" if backend == "onnxruntime" else refused), 0)


def test_a_fork_while_a_network_is_being_loaded(built_in):
    model = bdflow.load("tiny-x2", threads=1)
    with model.session._lock:  # as another thread would hold it
        backends._abandon_all()  # what runs in the child
        assert model.session("down")
