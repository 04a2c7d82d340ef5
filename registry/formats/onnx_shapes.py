"""The operators of ONNX that are taken, each with the shape of what it makes.

Not taken is what makes a tensor of a size that the numbers of a row decide (`Range`, `NonZero`, `Expand` to a computed
shape): no trial row finds the one that asks for a terabyte. Shapes are those of as many rows as are asked at once, and every
rule is an upper bound that grows with its inputs, so that fewer rows cannot make more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from onnx.helper import get_attribute_value

from registry.formats.base import ArtifactRefused

Dims = tuple[int, ...]
INSTEAD = "Export it without, with shapes that are constants, or register it as torch.export or Keras, which run apart."
ML = "ai.onnx.ml"


@dataclass(frozen=True, slots=True)
class Tensor:
    """dims: the most it can have. is_fixed: no row reaches it. values: of a short constant of whole numbers. most: of
    what `Shape` gives, the most it can be, which may lie in another shape but must not count or divide."""

    dims: Dims
    is_fixed: bool = False
    values: Dims | None = None
    most: Dims | None = None

    @property
    def elements(self) -> int:
        return math.prod(self.dims)


class Node:
    """One operator with what goes into it."""

    def __init__(self, node: Any, inputs: Sequence[Tensor | None]) -> None:
        self.kind = str(node.op_type)
        self.outputs = len(node.output)
        self.attributes = {part.name: get_attribute_value(part) for part in node.attribute}
        self.count = len(inputs)
        self._inputs = inputs

    def __getitem__(self, index: int) -> Tensor:
        found = self._inputs[index] if index < self.count else None
        if found is None:
            raise refused(self.kind, "an input is missing")
        return found

    @property
    def given(self) -> list[Tensor]:
        return [tensor for tensor in self._inputs if tensor is not None]

    def whole(self, name: str, default: int) -> int:
        return int(self.attributes.get(name, default))

    def constants(self, name: str, index: int) -> tuple[int, ...] | None:
        """Whole numbers that newer operators take as an input, older ones as an attribute; None where neither says."""
        if name in self.attributes:
            return tuple(int(value) for value in self.attributes[name])
        if index >= self.count or self._inputs[index] is None:
            return None
        values = self[index].values
        if values is None:
            raise refused(self.kind, f"what it takes for {name} is computed, not constant")
        return values

    def axis(self, rank: int, default: int = 0) -> int:
        return _place(self.kind, self.whole("axis", default), rank)


def refused(kind: str, why: str) -> ArtifactRefused:
    return ArtifactRefused(reason=f"the operator {kind[:40]} is not taken: {why}. {INSTEAD}")


def _place(kind: str, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise refused(kind, f"it names the axis {axis} of {rank}")
    return axis % rank


def broadcast(*shapes: Dims) -> Dims:
    rank = max(map(len, shapes))
    return tuple(map(max, *((1,) * (rank - len(dims)) + dims for dims in (*shapes, ()))))


def _matmul(left: Dims, right: Dims) -> Dims:
    rows, columns = left[-2:-1], right[-1:] if len(right) > 1 else ()
    return broadcast(left[:-2], right[:-2]) + rows + columns


def _gemm(node: Node) -> Dims:
    left, right = node[0].dims, node[1].dims
    if len(left) != 2 or len(right) != 2:
        raise refused(node.kind, "it takes two tables")
    return left[bool(node.whole("transA", 0))], right[not node.whole("transB", 0)]


def _reduced(node: Node) -> Dims:
    dims = node[0].dims
    axes = node.constants("axes", 1)
    if not axes and node.whole("noop_with_empty_axes", 0):
        return dims
    gone = {_place(node.kind, axis, len(dims)) for axis in axes or range(len(dims))}
    return _without(node, dims, gone)


def _without(node: Node, dims: Dims, gone: set[int]) -> Dims:
    if node.whole("keepdims", 1):
        return tuple(1 if place in gone else size for place, size in enumerate(dims))
    return tuple(size for place, size in enumerate(dims) if place not in gone)


def _reshaped(node: Node) -> Dims:
    """-1 stands for what the others leave, 0 for the size that was there."""
    dims = node[0].dims
    if len(node.given) > 1 and (most := node[1].most) and min(most) > 0:
        here = dims[: len(most)] + (0,) * (len(most) - len(dims))  # a size of 0 would copy what was there
        return tuple(map(max, most, here))
    wanted = node.constants("shape", 1)
    if wanted is None or min(wanted, default=0) < -1 or wanted.count(-1) > 1:
        raise refused(node.kind, "it does not say its shape")
    copied = set() if node.whole("allowzero", 0) else {i for i, size in enumerate(wanted) if size == 0}
    if copied and max(copied) >= len(dims):
        raise refused(node.kind, "it copies a size that is not there")
    left = math.prod(size for place, size in enumerate(dims) if place not in copied)
    said = math.prod(size for size in wanted if size > 0)
    return tuple(
        dims[place] if place in copied else -(-left // said) if size == -1 else size
        for place, size in enumerate(wanted)
    )


def _squeezed(node: Node) -> Dims:
    dims, axes = node[0].dims, node.constants("axes", 1)
    if axes is None:
        raise refused(node.kind, "it does not name its axes")
    gone = {_place(node.kind, axis, len(dims)) for axis in axes}
    return tuple(size for place, size in enumerate(dims) if place not in gone)


def _unsqueezed(node: Node) -> Dims:
    dims, axes = list(node[0].dims), node.constants("axes", 1) or ()
    rank = len(dims) + len(axes)
    for place in sorted(_place(node.kind, axis, rank) for axis in axes):
        dims.insert(place, 1)
    return tuple(dims)


def _concatenated(node: Node) -> Dims:
    shapes = [tensor.dims for tensor in node.given]
    place = node.axis(len(shapes[0]))
    if len({*map(len, shapes)}) != 1:
        raise refused(node.kind, "its parts differ in their number of axes")
    joined = list(broadcast(*shapes))
    joined[place] = sum(dims[place] for dims in shapes)
    return tuple(joined)


def _gathered(node: Node) -> Dims:
    dims = node[0].dims
    place = node.axis(len(dims))
    return dims[:place] + node[1].dims + dims[place + 1 :]


def _transposed(node: Node) -> Dims:
    dims = node[0].dims
    order = node.attributes.get("perm", range(len(dims))[::-1])
    if sorted(order) != list(range(len(dims))):
        raise refused(node.kind, "its perm is no order of the axes")
    return tuple(dims[place] for place in order)


def _flattened(node: Node) -> Dims:
    dims, axis = node[0].dims, node.whole("axis", 1)
    place = axis if axis == len(node[0].dims) else _place(node.kind, axis, len(dims))
    return math.prod(dims[:place]), math.prod(dims[place:])


def _tiled(node: Node) -> Dims:
    dims, times = node[0].dims, node.constants("repeats", 1)
    if times is None or len(times) != len(dims) or min(times, default=0) < 0:
        raise refused(node.kind, "its repeats do not fit")
    return tuple(size * many for size, many in zip(dims, times, strict=True))


def _expanded(node: Node) -> Dims:
    return broadcast(node[0].dims, _said_shape(node, 1))


def _said_shape(node: Node, index: int) -> Dims:
    said = node[index].most or node.constants("shape", index)
    if said is None or min(said, default=0) < 0:
        raise refused(node.kind, "it does not say its shape")
    return said


def _padded(node: Node) -> Dims:
    dims, pads = node[0].dims, node.constants("pads", 1)
    if pads is None or len(pads) != 2 * len(dims) or node.count > 3:
        raise refused(node.kind, "its pads do not fit")
    return tuple(
        size + max(before, 0) + max(after, 0)
        for size, before, after in zip(dims, pads[: len(dims)], pads[len(dims) :], strict=True)
    )


def _one_hot(node: Node) -> Dims:
    dims, depth = node[0].dims, node.constants("depth", 1)
    if depth is None or len(depth) != 1 or depth[0] < 0:
        raise refused(node.kind, "it does not say its depth")
    place = node.axis(len(dims) + 1, -1)
    return (*dims[:place], depth[0], *dims[place:])


def _top(node: Node) -> Dims:
    dims, most = list(node[0].dims), node.constants("k", 1)
    if most is None or len(most) != 1 or most[0] < 0:
        raise refused(node.kind, "its k is no constant")
    dims[node.axis(len(dims), -1)] = most[0]
    return tuple(dims)


def _constant(node: Node) -> Dims:
    for name, value in node.attributes.items():
        if name == "value":
            return tuple(value.dims)
        if name in ("value_float", "value_int", "value_string"):
            return ()
        if name in ("value_floats", "value_ints", "value_strings"):
            return (len(value),)
    raise refused(node.kind, "it holds no plain tensor")


def _extracted(node: Node) -> Dims:
    return (node[0].dims[:-1] or (1,)) + (node[1].elements,)


def _labels(node: Node) -> int:
    """How many classes are named, or could be counted from the weights beside them; two where one is."""
    names = (
        "classlabels_int64s",
        "classlabels_ints",
        "classlabels_strings",
        "intercepts",
        "vectors_per_class",
    )
    return max(2, *(len(node.attributes.get(name, ())) for name in names))


def _rows(node: Node) -> int:
    dims = node[0].dims
    return dims[0] if len(dims) > 1 else 1


def _classified(node: Node) -> list[Dims]:
    classes = _labels(node)
    scores = classes * (classes - 1) // 2 + 1 if node.kind == "SVMClassifier" else classes
    return [(_rows(node),), (_rows(node), max(scores, classes))]


def _vectorized(node: Node) -> Dims:
    rows = max(math.prod(tensor.dims[:-1]) for tensor in node.given)
    return rows, sum(node.attributes.get("inputdimensions", ()))


def _encoded(node: Node) -> Dims:
    categories = max(len(node.attributes.get(name, ())) for name in ("cats_int64s", "cats_strings"))
    return (*node[0].dims, categories)


def _of_split(node: Node) -> list[Dims]:
    return [node[0].dims] * node.outputs


def _sliced(node: Node) -> Dims:
    """No larger than what it is cut from, and than its ends say where both count from the same side."""
    dims = list(node[0].dims)
    if any(tensor.values is None for tensor in node.given[1:]):
        return tuple(dims)
    starts, ends = node.constants("starts", 1) or (), node.constants("ends", 2) or ()
    axes = node.constants("axes", 3) or tuple(range(len(starts)))
    for start, end, axis in zip(starts, ends, axes, strict=False):
        if (start < 0) == (end < 0) and end >= start:
            place = _place(node.kind, axis, len(dims))
            dims[place] = min(dims[place], end - start)
    return tuple(dims)


Rule = Callable[[Node], Dims | list[Dims]]


def _same(node: Node) -> list[Dims]:
    return [node[0].dims] * node.outputs


def _joined(node: Node) -> Dims:
    return broadcast(*(tensor.dims for tensor in node.given))


SAME = """Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization Cast Ceil Celu Clip Cos Cosh CumSum Dropout Elu Erf Exp
Floor Gelu HardSigmoid HardSwish Hardmax Identity IsInf IsNaN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization
Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh
ThresholdedRelu"""
JOINED = """Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or Pow PRelu Sub Sum Where
Xor"""
REDUCED = """ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare"""
RULES: dict[str, Rule] = {
    **dict.fromkeys(SAME.split(), _same),
    **dict.fromkeys(JOINED.split(), _joined),
    **dict.fromkeys(REDUCED.split(), _reduced),
    **dict.fromkeys(
        ("ArgMax", "ArgMin"), lambda node: _without(node, node[0].dims, {node.axis(len(node[0].dims))})
    ),
    "CastLike": lambda node: node[0].dims,
    "Concat": _concatenated,
    "Constant": _constant,
    "ConstantOfShape": lambda node: _said_shape(node, 0),
    "Expand": _expanded,
    "Flatten": _flattened,
    "Gather": _gathered,
    "GatherElements": lambda node: node[1].dims,
    "Gemm": _gemm,
    "MatMul": lambda node: _matmul(node[0].dims, node[1].dims),
    "OneHot": _one_hot,
    "Pad": _padded,
    "Reshape": _reshaped,
    "Shape": lambda node: (len(node[0].dims),),
    "Size": lambda _: (),
    "Slice": _sliced,
    "Split": _of_split,
    "Squeeze": _squeezed,
    "Tile": _tiled,
    "TopK": lambda node: [_top(node)] * 2,
    "Transpose": _transposed,
    "Unsqueeze": _unsqueezed,
}
ML_RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("Binarizer", "CategoryMapper", "Imputer", "LabelEncoder", "Normalizer", "Scaler", "ZipMap"), _same
    ),
    **dict.fromkeys(("LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"), _classified),
    **dict.fromkeys(
        ("TreeEnsemble", "TreeEnsembleRegressor"), lambda node: (_rows(node), node.whole("n_targets", 1))
    ),
    "ArrayFeatureExtractor": _extracted,
    "FeatureVectorizer": _vectorized,
    "LinearRegressor": lambda node: (_rows(node), node.whole("targets", 1)),
    "OneHotEncoder": _encoded,
    "SVMRegressor": lambda node: (_rows(node), 1),
}
