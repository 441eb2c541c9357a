"""Fuzz what a model folder is judged by: python fuzz/models.py -runs=N [CORPUS]

An input is "g" and a graph, or "h" and the start of a weights file. What the judge of graphs passes is read
again with protobuf's own parser, which must find nothing that should have been refused.
"""

import io

import atheris
import onnx
from harness import check_line, fuzz

with atheris.instrument_imports(include=["bdflow"]):
    from bdflow import zoo
    from bdflow.errors import BDFlowError
    from bdflow.zoo import graphs


class Held:
    """A file in memory, as far as the reader of headers needs one."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.data)

    def __str__(self) -> str:
        return "the weights"


def target(data: bytes) -> None:
    try:
        if data[:1] == b"h":
            metadata = zoo.read_metadata(Held(data[1:]))
            assert metadata["model"]["scale"] in (2, 4, 8, 16, 32, 64)
        elif data[:1] == b"g":
            graphs.check(data[1:], zoo.WEIGHTS)
            examine(data[1:])
    except BDFlowError as error:
        check_line(error)


def examine(data: bytes) -> None:
    """Assert with onnx's own parser what `graphs.check` has to make sure of."""
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception:  # protobuf's own class; what it refuses, ONNX Runtime does, too
        return
    assert not model.functions
    assert not model.training_info
    graph = model.graph
    tensors = [*graph.initializer]
    for node in graph.node:
        assert node.domain in ("", "ai.onnx"), node.domain
        for attribute in node.attribute:
            assert not attribute.graphs
            assert not attribute.HasField("g")
            tensors += [attribute.t, *attribute.tensors]
            sparse = [attribute.sparse_tensor, *attribute.sparse_tensors]
            tensors += [part for tensor in sparse for part in (tensor.values, tensor.indices)]
    tensors += [part for tensor in graph.sparse_initializer for part in (tensor.values, tensor.indices)]
    for tensor in tensors:
        locations = {entry.value for entry in tensor.external_data if entry.key == "location"}
        assert locations <= {zoo.WEIGHTS}, locations


if __name__ == "__main__":
    fuzz(target)
