"""Damage by the structure of what is damaged: bytes, protobuf messages, trees of YAML, zip archives."""

from __future__ import annotations

import copy
import io
import zipfile
import zlib
from collections.abc import Iterator
from random import Random
from typing import Any

import yaml
from onnx import ModelProto

_WHOLE = (0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 2**31 - 1, 2**31, -(2**31), 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))
_REAL = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-38, 1e38, float("inf"), float("-inf"), float("nan"))
_TEXT = ("", "x", "y", "w", "../up", "/etc/passwd", "a\0b", "n" * 300, "\x1b[31m", "\u202e", "ß", "-1", "%s%n", "${a}")
_OPERATORS = (
    *("Add", "Concat", "Conv", "Expand", "Flatten", "Gather", "Gemm", "Identity", "If", "Loop", "LSTM", "MatMul"),
    *("Mul", "Range", "Relu", "Reshape", "Scan", "Shape", "Slice", "Softmax", "Split", "Squeeze", "Tile", "Where"),
)
_ODD_YAML = (
    *("", "~", "-1", "0", "1e999", ".nan", ".inf", "99999999999999999999999", "2020-13-45", "!!int x", "!!binary aGk="),
    *("!!timestamp x", "!!python/object:os.system x", "!x y", "*none", "&a [*a]", '"a\\0b"', '"\\ud800"', "[[]]", "{}"),
    *(
        "${none}",
        "${seed}",
        "yes",
        "0x7fffffffffffffff",
        "1_000",
        "'" + 300 * "n" + "'",
        "{? [a] : b}",
        "!!set {a}",
        "<<: 1",
    ),
    *("1h", "5MB", "-5MB", "digits", "random:99999999999", "top1:nothing", "cuda", "[1, a, {b: c}]", "?", "|", "- -"),
)


def bytes_(data: bytes, rng: Random, *, most: int = 4) -> bytes:
    """Return `data` with some bytes changed, left out, doubled, or cut off."""
    damaged = bytearray(data)
    for _ in range(rng.randint(1, most)):
        if not damaged:
            break
        at, length = rng.randrange(len(damaged)), rng.choice((1, 1, 2, 4, 8, 64))
        match rng.randrange(6):
            case 0:
                damaged[at] ^= 1 << rng.randrange(8)
            case 1:
                damaged[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                damaged[at : at + length] = rng.randbytes(length)
            case 3:
                del damaged[at : at + length]
            case 4:
                damaged[at:at] = damaged[at : at + length]
            case _:
                del damaged[at:]
    return bytes(damaged)


def message(model: ModelProto, rng: Random) -> ModelProto:
    """Return a copy of `model` in which some fields hold other values of their types."""
    damaged = ModelProto()
    damaged.CopyFrom(model)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        messages = list(_walk(damaged))
        _edit(rng.choice(messages), messages, rng)
    return damaged


def _walk(root: Any) -> Iterator[Any]:
    pending = [root]
    while pending:
        yield (current := pending.pop())
        for field, value in current.ListFields():
            if field.message_type is not None:
                pending.extend(value if field.is_repeated else [value])


def _edit(target: Any, messages: list[Any], rng: Random) -> None:
    """Change one field of a message: one that is set, or sometimes any."""
    named = [field for field, _ in target.ListFields()]
    fields = named if named and rng.random() < 0.8 else list(target.DESCRIPTOR.fields)
    if not fields:
        return
    field = rng.choice(fields)
    if field.message_type is not None:
        _edit_messages(target, field, messages, rng)
        return
    texts = [text for other in messages for text in _texts(other)]
    if field.is_repeated:
        values = getattr(target, field.name)
        match rng.randrange(3) if values else 0:
            case 0:
                values.append(_value(field, None, texts, rng))
            case 1:
                del values[rng.randrange(len(values))]
            case _:
                at = rng.randrange(len(values))
                values[at] = _value(field, values[at], texts, rng)
    elif rng.random() < 0.2:
        target.ClearField(field.name)
    else:
        setattr(target, field.name, _value(field, getattr(target, field.name), texts, rng))


def _edit_messages(target: Any, field: Any, messages: list[Any], rng: Random) -> None:
    alike = [other for other in messages if other.DESCRIPTOR is field.message_type]
    if not field.is_repeated:
        if alike and rng.random() < 0.5:
            other = field.message_type._concrete_class()
            other.CopyFrom(rng.choice(alike))  # a copy: it may hold the target
            getattr(target, field.name).CopyFrom(other)
        else:
            target.ClearField(field.name)
        return
    values = getattr(target, field.name)
    match rng.randrange(4) if values else 3:
        case 0:
            del values[rng.randrange(len(values))]
        case 1:
            values.append(rng.choice(values))
        case 2:
            order = list(values)
            rng.shuffle(order)
            kept = [copy.deepcopy(value) for value in order]
            del values[:]
            values.extend(kept)
        case _:
            if alike:
                values.append(copy.deepcopy(rng.choice(alike)))
            else:
                values.add()


def _value(field: Any, old: Any, texts: list[str], rng: Random) -> Any:
    if field.type == field.TYPE_STRING:
        return rng.choice((rng.choice(_TEXT), rng.choice(texts or [""]), rng.choice(_OPERATORS)))
    if field.type == field.TYPE_BYTES:
        return bytes_(old or b"\0" * 8, rng, most=2)
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return rng.choice(_REAL)
    if field.enum_type is not None:
        return rng.choice([value.number for value in field.enum_type.values])
    value = rng.choice((*_WHOLE, (old or 0) + 1, rng.randrange(30)))
    if field.type == field.TYPE_INT32:
        return (value + 2**31) % 2**32 - 2**31
    return value % 2**64 if field.type == field.TYPE_UINT64 else value


def _texts(target: Any) -> Iterator[str]:
    for field, value in target.ListFields():
        if field.type == field.TYPE_STRING:
            yield from value if field.is_repeated else [value]


def tree(content: dict[str, Any], rng: Random) -> str:
    """Return YAML of a mapping in which some values or keys are others."""
    content = copy.deepcopy(content)
    odd: dict[str, str] = {}
    for index in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(content))
        holder, key = rng.choice(places)
        mark = f"odd{index}"
        match rng.randrange(5):
            case 0:
                del holder[key]
            case 1:
                holder[key] = [copy.deepcopy(holder[key])] * rng.choice((1, 2, 50))
            case 2 if isinstance(holder, dict):
                holder[rng.choice((mark, "type", "seed", "vars", "sweep"))] = holder.pop(key)
            case _:
                holder[key] = mark
        odd[mark] = rng.choice(_ODD_YAML)
    text = yaml.safe_dump(content, width=1000)
    for mark, value in odd.items():
        text = text.replace(mark, value)
    return text if rng.random() < 0.9 else bytes_(text.encode(), rng).decode("utf-8", "replace")


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield content, key
        yield from _places(content[key])


def archive(data: bytes, rng: Random, *, compress: bool = True) -> bytes:
    """Return a zip archive with damaged members, or whose own bytes are damaged."""
    if rng.random() < 0.3:
        return bytes_(data, rng)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        members = source.infolist()
        chosen = rng.choice(members)
        for member in members:
            content = source.read(member)
            if member is chosen:
                if rng.random() < 0.15:
                    continue
                content = bytes_(content, rng)
            target.writestr(member.filename, content, rng.choice((0, 8)) if compress else 0)
    return out.getvalue()


def png(data: bytes, rng: Random) -> bytes:
    """Return a PNG file with one chunk changed and its checksum right again."""
    chunks, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    index = rng.randrange(len(chunks))
    kind, content = chunks[index]
    if kind == b"IHDR" and rng.random() < 0.7:
        at = rng.choice((0, 4))
        content = content[:at] + rng.choice((0, 1, 2**16, 2**31 - 1, 30000)).to_bytes(4) + content[at + 4 :]
    else:
        content = bytes_(content or b"\0", rng)
    chunks[index] = (kind, content)
    parts = [len(c).to_bytes(4) + k + c + zlib.crc32(k + c).to_bytes(4) for k, c in chunks]
    return data[:8] + b"".join(parts)
