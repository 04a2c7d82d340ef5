"""How much a graph of ONNX may hold in memory, told from the graph alone: each operator of a list, with the shapes it
makes of as many rows as are asked at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

from registry.formats.base import ArtifactRefused, rows_at_once
from registry.formats.onnx_shapes import ML, ML_RULES, RULES, Dims, Node, Tensor, refused
from registry.formats.onnx_trees import check_trees

MAX_NODES = 20_000
MAX_ROWS = 2_048  # asked at once; few, so that each may be wide
MAX_ELEMENTS = 33_554_432  # of a tensor: 128 MiB of float, 256 MiB of double
MAX_COMPUTED = (
    1_048_576  # numbers beyond the file's own that no row is needed for, which are kept with the model
)
MAX_SHAPE_LENGTH = 64
MAX_RANK = 16
TEXT_BYTES = 32  # of each text, beside its letters
NO_TEXTS = ("nodes_modes",)  # of those who hold several; none of them is ever an answer
TEXTS = ("default_string", "value_string")
BY_DOMAIN = {"": RULES, "ai.onnx": RULES, ML: ML_RULES}
NO_TABLE = "it must take one input: a table of float or double, (rows, features)."


def most_rows(features: int) -> int:
    """For whom the bounds hold: more must not be asked at once."""
    return min(MAX_ROWS, rows_at_once(features))


def check_graph(graph: Any, file_bytes: int) -> None:
    """Raises ArtifactRefused with the operator that is not taken, or makes too much."""
    if len(graph.node) > MAX_NODES:
        raise ArtifactRefused(reason=f"it has more than {MAX_NODES:,} operators.")
    if len(graph.sparse_initializer):
        raise ArtifactRefused(reason="it holds sparse tensors; save them as plain ones.")
    tensors = {tensor.name: _of_tensor(tensor) for tensor in graph.initializer}
    if len(tensors) != len(graph.initializer):
        raise ArtifactRefused(reason="two of its tensors have one name.")
    rows = 0
    for given in graph.input:
        if given.name not in tensors:
            tensors[given.name] = table = _of_input(given)
            rows = max(rows, table.dims[0])
    longest = max(_texts(graph), default=-TEXT_BYTES)
    words = 1 + (longest + TEXT_BYTES) // 8
    computed = 0
    for each in graph.node:
        for name, made in _made_by(each, tensors):
            if min(made.dims, default=0) < 0:
                raise refused(each.op_type, "it names a size below nought")
            if made.elements * words > MAX_ELEMENTS or len(made.dims) > MAX_RANK:
                raise refused(
                    each.op_type,
                    f"it makes {made.elements:,} values of {rows:,} rows, and {MAX_ELEMENTS // words:,} may be",
                )
            if made.is_fixed and each.op_type != "Constant":
                computed += made.elements
            if name in tensors:  # which of two is meant, the runtime decides
                raise refused(each.op_type, f"there is another {name[:40]!r}")
            tensors[name] = made
        if computed > MAX_COMPUTED + file_bytes:
            raise refused(each.op_type, "constants that grow as it loads are far larger than the file")


def _made_by(operator: Any, tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The outputs of an operator, by name."""
    kind = str(operator.op_type)
    rule = BY_DOMAIN.get(operator.domain, {}).get(kind)
    if rule is None:
        raise refused(kind, "it is not among those whose memory can be told beforehand")
    if any(name and name not in tensors for name in operator.input):
        raise refused(kind, "an input is made after it, or nowhere")
    node = Node(operator, [tensors[name] if name else None for name in operator.input])
    if kind.startswith("TreeEnsemble"):
        check_trees(node.attributes)
    found = rule(node)
    shapes = found if isinstance(found, list) else [found]
    is_fixed = all(tensor.is_fixed for tensor in node.given)
    values, most = _values_of(node)
    for name, dims in zip(operator.output, shapes, strict=False):
        if name:
            yield name, Tensor(dims, is_fixed, values, most)
    if len(operator.output) > len(shapes):
        raise refused(kind, "it has more outputs than are known")


def _values_of(node: Node) -> tuple[Dims | None, Dims | None]:
    """What a tensor says where it is a shape, and what it says at most, also as exporters hand parts of shapes on."""
    if node.kind == "Constant":
        return _constant_of(node), None
    if node.kind == "Shape" and not {"start", "end"} & set(node.attributes):
        return None, node[0].dims
    if node.kind in ("Identity", "Squeeze", "Unsqueeze"):
        return node[0].values, node[0].most
    if node.kind == "Gather" and node[1].values is not None:
        return _picked(node[0].values, node[1].values), _picked(node[0].most, node[1].values)
    if node.kind == "Concat":
        exact = [tensor.values for tensor in node.given]
        most = [tensor.values if tensor.most is None else tensor.most for tensor in node.given]
        return _all_of(exact), None if None not in exact else _all_of(most)
    return None, None


def _constant_of(node: Node) -> Dims | None:
    said = node.attributes
    if isinstance(said.get("value"), onnx.TensorProto):
        return _of_tensor(said["value"]).values
    if "value_ints" in said:
        return tuple(said["value_ints"]) if len(said["value_ints"]) <= MAX_SHAPE_LENGTH else None
    return (said["value_int"],) if "value_int" in said else None


def _picked(values: Dims | None, places: Dims) -> Dims | None:
    if values is None or not all(-len(values) <= place < len(values) for place in places):
        return None
    return tuple(values[place] for place in places)


def _all_of(parts: list[Dims | None]) -> Dims | None:
    """Joined, where each is known."""
    joined: list[int] = []
    for part in parts:
        if part is None or len(joined) + len(part) > MAX_SHAPE_LENGTH:
            return None
        joined += part
    return tuple(joined)


def _of_tensor(tensor: Any) -> Tensor:
    dims: Dims = tuple(max(size, 0) for size in tensor.dims)
    made = Tensor(dims, is_fixed=True)
    if tensor.data_type not in (onnx.TensorProto.INT64, onnx.TensorProto.INT32):
        return made
    if made.elements > MAX_SHAPE_LENGTH or len(tensor.external_data):
        return made
    try:
        values = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as fault:
        raise ArtifactRefused(reason="a tensor holds other numbers than it says.") from fault
    return Tensor(dims, True, tuple(np.ravel(values).tolist()))


def _of_input(given: Any) -> Tensor:
    shape = given.type.tensor_type.shape.dim
    if not given.type.HasField("tensor_type") or len(shape) != 2 or shape[1].dim_value < 1:
        raise ArtifactRefused(reason=NO_TABLE)
    return Tensor((most_rows(shape[1].dim_value), shape[1].dim_value))


def _texts(graph: Any) -> Iterator[int]:
    """The length of each text that an answer could hold."""
    for tensor in graph.initializer:
        yield from map(len, tensor.string_data)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name not in NO_TEXTS:
                yield from map(len, attribute.strings)
            if attribute.name in TEXTS:
                yield len(attribute.s)
            yield from map(len, attribute.t.string_data)
