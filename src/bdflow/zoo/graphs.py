"""What the graphs of a foreign model may hold: plain operators, and numbers from its own weights file alone.

A graph cannot run code of its own, but it can name other files to read (external data), operators of other
libraries, and loops without an end. Those are refused here, before ONNX Runtime sees the file.

ONNX is protobuf: a message is a row of fields, each a number, a wire type and a value, and a value can be a
message again. Only those that can lead elsewhere are followed.
"""

from collections.abc import Iterator

from bdflow.errors import BDFlowError

MAX_GRAPH = 1 << 26  # bytes; bdflow's own have below a million

# Messages within messages, by the number of their field (onnx.proto).
_WITHIN = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
# What no graph of bdflow's has, and a loop or a hidden operator would need.
_REFUSED = {
    ("model", 20): "training",
    ("model", 25): "functions",
    ("attribute", 6): "graphs within graphs",
    ("attribute", 11): "graphs within graphs",
}
_DOMAIN = ("node", 7)
_PLAIN = (b"", b"ai.onnx")


def check(graph: bytes, weights: str) -> None:
    """Refuse a graph that reaches beyond itself and the weights file beside it.

    Args:
        graph: The content of an ONNX file.
        weights: The name of the one file that its tensors may lie in.

    Raises:
        BDFlowError: It is no ONNX graph, or it names other files or operators, or loops.
    """
    try:
        _check("model", graph, weights.encode())
    except (IndexError, ValueError) as error:
        raise BDFlowError("it is damaged, or no ONNX graph") from error


def _check(message: str, data: bytes, weights: bytes) -> None:
    entry = {}
    for number, value in _fields(data):
        if what := _REFUSED.get((message, number)):
            raise BDFlowError(f"it holds {what}, which bdflow's graphs do not")
        if (message, number) == _DOMAIN and value not in _PLAIN:
            raise BDFlowError(f"it needs operators of {value.decode(errors='replace')!r}, not ONNX's own")
        if message == "entry":
            entry[number] = value  # as in protobuf, the last one counts
        elif within := _WITHIN[message].get(number):
            _check(within, value, weights)
    if message == "entry" and entry.get(1) == b"location" and entry.get(2) != weights:
        raise BDFlowError(f"it reads {entry.get(2, b'').decode(errors='replace')!r}, not {weights.decode()}")


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of a message's fields of bytes; numbers are passed over."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if key >> 32 or not number:
            raise ValueError
        if wire == 0:
            _, position = _varint(data, position)
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        elif wire == 2:
            length, position = _varint(data, position)
            yield number, data[position : position + length]
            position += length
        else:
            raise ValueError
        if position > len(data):
            raise ValueError


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number of 7 bits a byte, low bits first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError
