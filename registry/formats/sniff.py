"""Which format is it? Asked of the content, in the process that is thrown away."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import pickletools
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from registry.formats.base import ArtifactRefused, PickleRefused

CONVERSION = (
    "a pickle runs code when it is loaded, so it never is. Convert it where it was made: "
    'skops.io.dump(joblib.load("model.joblib"), "model.skops") for scikit-learn, '
    'booster.save_model("model.txt") for LightGBM, and register that file.'
)
LIGHTGBM = b"tree\nversion="
PEEK_BYTES = 1_048_576
KERAS_CONFIG_BYTES = SAFETENSORS_HEAD_BYTES = 16_777_216
PACKED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": lambda content: zlib.decompressobj(31).decompress(content, PEEK_BYTES),
    b"\x78": lambda content: zlib.decompressobj().decompress(content, PEEK_BYTES),
    b"BZh": lambda content: bz2.BZ2Decompressor().decompress(content, PEEK_BYTES),
    b"\xfd7zXZ\x00": lambda content: lzma.LZMADecompressor().decompress(content, PEEK_BYTES),
    b"\x5d\x00\x00": lambda content: lzma.LZMADecompressor().decompress(content, PEEK_BYTES),
}
LZ4 = b"\x04\x22\x4d\x18"
ONNX_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
ONNX_GRAPH, ONNX_OPSET = 7, 8


def sniff(content: bytes) -> str:
    """The name of the format. Raises PickleRefused, or ArtifactRefused for what is not known."""
    if not content:
        raise ArtifactRefused(reason="it is empty.")
    if content.startswith(LIGHTGBM):
        return "lightgbm"
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _sniff_zip(content)
    if content.startswith((b"{L", b"{i", b"{U", b"{l")):
        return "xgboost_ubj"
    if content.lstrip()[:1] == b"{" and b'"learner"' in content[:PEEK_BYTES]:
        return "xgboost_json"
    if looks_like_safetensors(content):
        return "safetensors"
    if looks_like_onnx(content):
        return "onnx"
    if content.startswith(b"\x93NUMPY"):
        raise PickleRefused(reason=f"an array file is no model, and its objects are a pickle; {CONVERSION}")
    _refuse_packed(content)
    if looks_like_pickle(content):
        raise PickleRefused(reason=CONVERSION)
    raise ArtifactRefused(
        reason="its format is not known. LightGBM text, XGBoost JSON or UBJ, skops, ONNX, safetensors, "
        "torch.export, TorchScript and Keras are taken."
    )


def _sniff_zip(content: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as container:
            names = set(container.namelist())
            if "schema.json" in names:
                _refuse_pickled_members(container)
                return "skops"
            if {"config.json", "metadata.json", "model.weights.h5"} <= names:
                _refuse_pickled_members(container)
                _refuse_keras_code(container)
                return "keras"
            if kind := _torch_archive(names):
                return kind
            _refuse_pickled_members(container)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError, zlib.error) as fault:
        raise ArtifactRefused(reason=f"it is a damaged or locked zip ({fault}).") from fault
    raise ArtifactRefused(reason="it is a zip, but no skops file: there is no schema.json in it.")


def _torch_archive(names: set[str]) -> str | None:
    """TorchScript carries its code, torch.export its graph; what torch.save writes carries a pickle alone. Both
    hold pickles of their own beside that, which PyTorch reads, and only where nothing can be reached."""
    inner = {name.partition("/")[2] for name in names}
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        return "torch_export"
    is_script = "constants.pkl" in inner and any(name.startswith("code/") for name in inner)
    return "torchscript" if is_script else None


def _refuse_keras_code(container: zipfile.ZipFile) -> None:
    """A Lambda layer is code. So may be a class that Keras would import by its module."""
    with container.open("config.json") as file:
        head = file.read(KERAS_CONFIG_BYTES + 1)
    if len(head) > KERAS_CONFIG_BYTES:
        raise ArtifactRefused(reason=f"its config.json is larger than {KERAS_CONFIG_BYTES} bytes.")
    waiting: list[Any] = [json.loads(head)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
            module = part.get("module")
            if part.get("class_name") in ("Lambda", "__lambda__", "function"):
                raise ArtifactRefused(
                    reason="it holds a Lambda layer, which is code. Save the model without it."
                )
            if isinstance(module, str) and module.partition(".")[0] not in ("keras", "builtins"):
                raise ArtifactRefused(
                    reason=f"it names a class of the module {module[:80]!r}, which is not Keras's own."
                )


def looks_like_safetensors(content: bytes) -> bool:
    """Eight bytes of length, then that much JSON of tensors with their place in the file.

    >>> head = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    >>> looks_like_safetensors(len(head).to_bytes(8, "little") + head + bytes(4))
    True
    """
    size = int.from_bytes(content[:8], "little")
    if not 2 <= size <= min(len(content) - 8, SAFETENSORS_HEAD_BYTES) or content[8:9] != b"{":
        return False
    try:
        tensors = json.loads(content[8 : 8 + size])
    except (ValueError, RecursionError):
        return False
    named = [value for name, value in tensors.items() if name != "__metadata__"]
    return bool(named) and all(isinstance(each, dict) and "data_offsets" in each for each in named)


def _refuse_pickled_members(container: zipfile.ZipFile) -> None:
    for member in container.infolist():
        with container.open(member) as file:
            head = file.read(PEEK_BYTES)
        is_object_array = head.startswith(b"\x93NUMPY") and b"'O'" in head[:256]
        if is_object_array or looks_like_pickle(head):
            raise PickleRefused(reason=f"the part {member.filename[:80]!r} is a pickle: {CONVERSION}")


def _refuse_packed(content: bytes) -> None:
    if content.startswith(LZ4):
        raise PickleRefused(reason=f"it is packed by lz4, as joblib does; {CONVERSION}")
    for magic, unpack in PACKED.items():
        if not content.startswith(magic):
            continue
        try:
            inner = unpack(content)
        except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError):
            continue
        if looks_like_pickle(inner):
            raise PickleRefused(reason=CONVERSION)
        raise ArtifactRefused(reason="it is compressed. Send the model file as it is.")


def looks_like_pickle(content: bytes) -> bool:
    """Whether the bytes begin as a pickle: opcodes that end in STOP, or a great many before the first mistake.

    >>> import pickle
    >>> [looks_like_pickle(pickle.dumps({"a": [1, 2]}, protocol)) for protocol in (0, 1, 2, 4)]
    [True, True, True, True]
    >>> looks_like_pickle(b"tree")
    False
    """
    if len(content) > 2 and content[0] == 0x80 and content[1] <= 5:
        return True
    count = 0
    try:
        for opcode, _, _ in pickletools.genops(io.BytesIO(content)):
            count += 1
            if opcode.name == "STOP":
                return count > 1
    except (ValueError, KeyError, IndexError, UnicodeDecodeError, OverflowError, MemoryError):
        return count > 200
    return False


def looks_like_onnx(content: bytes) -> bool:
    """Whether the bytes are the protobuf message ModelProto: known fields only, a graph and an opset among them."""
    at, found = 0, set()
    while at < len(content):
        key, at = _varint(content, at)
        field, wire = key >> 3, key & 7
        if field not in ONNX_FIELDS or wire not in (0, 2):
            return False
        value, at = _varint(content, at)
        if wire == 2:
            at += value
        if at > len(content) or at < 0:
            return False
        found.add(field)
    return {ONNX_GRAPH, ONNX_OPSET} <= found


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(content) and shift < 64:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    return 0, len(content) + 1
