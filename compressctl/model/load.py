"""Reading models: whatever onnx can express, brought to the one form that passes expect, with a note on each change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, OutputFixPass

from compressctl.errors import ModelError, UsageError
from compressctl.model import coo, embedded, opset, protos, read
from compressctl.model.checking import check_model
from compressctl.model.external import external_files
from compressctl.model.graph import bodies
from compressctl.model.lifting import lift_constants
from compressctl.model.qops import is_quantized
from compressctl.model.reasons import MALFORMED, reason
from compressctl.model.shapes import infer_shapes, inferred_types
from compressctl.model.soundness import check_numbers, quantization_faults
from compressctl.model.torchscript import Check, convert
from compressctl.notes import Note, done, skipped, warning
from compressctl.probation import counts_too
from compressctl.roles import with_roles, with_states
from compressctl.scratch import temporary_folder
from compressctl.tensorspec import Dim, TensorSpec, with_given

_KNOWN_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training")
_KNOWN_PREFIXES = ("com.microsoft", "ai.onnx.preview")


@dataclass(frozen=True)
class Loaded:
    """A model in the form that passes expect, and where it came from.

    Attributes:
        model: standard opset >= 13, no functions, no initializers among the inputs, every node named, shapes inferred;
            external data stay on disk, mapped when used.
        path: the file it was read from.
        files: this file, and those of its external data, in the order of their locations.
        notes: what was changed or noticed.
        stated: the values whose types the file states although they follow, by name.
        checks: batches and what a converted TorchScript file returns for them, see `torchscript.verify_checks`.
    """

    model: ir.Model
    path: Path
    files: tuple[Path, ...]
    notes: tuple[Note, ...] = ()
    stated: frozenset[str] = frozenset()
    checks: tuple[Check, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """Of the bytes of `files`, one after the other."""
        return read.sha256(self.files)


def load_model(path: Path, inputs: Mapping[str, TensorSpec] | None = None) -> Loaded:
    """Load an ONNX or TorchScript file; which of the two is told by its content.

    Args:
        path: the file.
        inputs: types and shapes of the inputs by name; TorchScript needs them, ONNX has its own.

    Raises:
        UsageError: a TorchScript file without `inputs`.
        ModelError: the file cannot be used; one line that names the file, and the node or tensor.
    """
    read.require_file(path)
    checks: tuple[Check, ...] = ()
    stated: frozenset[str] = frozenset()
    if read.is_torchscript(path):
        model, notes, checks = _from_torchscript(path, inputs)
        files: tuple[Path, ...] = (path,)
    else:
        proto = read.read_proto(path)
        stated = frozenset(info.name for info in proto.graph.value_info)
        try:
            protos.check_raw(proto)
            files = (path, *external_files(protos.tensors(proto), path))
            counts_too(files[1:])
            protos.check_functions(proto)
            model, notes = _from_proto(proto, path)
        except MALFORMED as error:
            raise ModelError(f"{path} is not a valid ONNX model: {reason(error)}") from error
    try:
        notes += _settle(model, path)
    except MALFORMED as error:
        raise ModelError(f"{path} cannot be used: {reason(error)}") from error
    return Loaded(model, path, files, tuple(notes), stated, checks)


def interface(model: ir.Model) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the specs of the model's inputs, with the roles that they seem to have, and of its outputs, in order.

    A shape of unknown rank reads as (); a single number has no axis.
    """
    inputs, outputs = (tuple(map(_spec, values)) for values in (model.graph.inputs, model.graph.outputs))
    return with_roles(inputs, outputs), outputs


def described_inputs(
    loaded: Loaded, given: Mapping[str, TensorSpec], states: Mapping[str, str]
) -> tuple[TensorSpec, ...]:
    """Return the specs of the model's inputs, with what the user says of them: sizes and values, and states.

    Raises:
        UsageError: what is said does not fit the model.
    """
    inputs, outputs = interface(loaded.model)
    if loaded.checks:  # what had a value became part of the model when it was converted
        given = {name: spec for name, spec in given.items() if spec.value is None}
    return with_states(with_given(inputs, given), outputs, states)


def _spec(value: ir.Value) -> TensorSpec:
    dims: tuple[Dim, ...] = tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape or ())
    dtype = "string" if value.dtype == ir.DataType.STRING else (value.dtype or ir.DataType.FLOAT).numpy().name
    return TensorSpec(value.name or "", dtype, dims, None if value.shape is not None and not dims else 0)


def _from_torchscript(
    path: Path, inputs: Mapping[str, TensorSpec] | None
) -> tuple[ir.Model, list[Note], tuple[Check, ...]]:
    if not inputs:
        raise UsageError(f"{path} is TorchScript, which does not tell its inputs", "add --input name:1x3x32x32")
    with temporary_folder() as workdir:
        model, notes, checks = convert(path, inputs, workdir)
    return model, list(notes), checks


def _from_proto(proto: onnx.ModelProto, path: Path) -> tuple[ir.Model, list[Note]]:
    """Check the proto and bring it to a current opset; edits `proto`, and hands its weights over without a copy."""
    notes: list[Note] = []
    protos.refuse_maps(proto, path)
    protos.open_negative(proto)
    if proto.training_info:
        del proto.training_info[:]
        notes.append(warning("the training information was dropped"))
    protos.embed_small(proto, path.absolute().parent)
    sparse = {name: coo.from_proto(tensor) for name, tensor in protos.take_sparse(proto).items()}
    if count := protos.densify(proto):
        notes.append(done(f"sparse tensors made dense: {count}"))
    proto.ir_version = max(proto.ir_version, opset.least_ir_version({}))
    protos.name_nodes(proto)
    overridable = {info.name for info in proto.graph.input} & {tensor.name for tensor in proto.graph.initializer}
    weights = protos.take_weights(proto)
    unshaped = _complete_outputs(proto, path)
    check_model(proto)
    if unshaped:
        raise ModelError(f"{path}: output {unshaped[0]!r} has no shape, not even a number of dimensions")
    if proto.functions:
        notes.append(done(f"functions inlined: {len(proto.functions)}"))
        proto.CopyFrom(_inlined(proto))
    if (version := opset.standard_opset(proto)) < opset.OLDEST:
        opset.convert_up(proto, about=str(path))
        notes.append(done(f"converted from opset {version} to {opset.TARGET}"))
    protos.name_nodes(proto)
    model = _with_weights(proto, weights, sparse, path)
    if overridable:
        notes.append(done(f"weights that were listed as inputs are so no longer: {len(overridable)}"))
    return model, notes


def restore_model(path: Path) -> ir.Model:
    """Return the model of a file that `save_model` wrote, as it was then.

    Raises:
        ModelError: it is no such file.
    """
    proto = read.read_proto(path)
    try:
        sparse = {name: coo.from_proto(tensor) for name, tensor in protos.take_sparse(proto).items()}
        return _with_weights(proto, {}, sparse, path)
    except MALFORMED as error:
        raise ModelError(f"{path} is not a valid ONNX model: {reason(error)}") from error


def _with_weights(
    proto: onnx.ModelProto,
    weights: Mapping[str, onnx.TensorProto],
    sparse: Mapping[str, coo.CooTensor],
    path: Path,
) -> ir.Model:
    """Return the model of a proto whose weights were taken out, so that they stand among its inputs."""
    model = ir.serde.deserialize_model(proto)
    graph = model.graph
    for value in [v for v in graph.inputs if v.name in weights or v.name in sparse or v.is_initializer()]:
        graph.inputs.remove(value)
        if not value.is_initializer():
            name = value.name or ""
            value.const_value = sparse[name] if name in sparse else ir.serde.deserialize_tensor(weights[name])
            graph.register_initializer(value)
    ir.external_data.set_base_dir(graph, path.absolute().parent)
    for value in graph.initializers.values():
        if (tensor := value.const_value) is not None:
            tensor = value.const_value = embedded.found(tensor, path)
            # What the tensor holds counts, not what the file declares.
            value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
    return model


def _complete_outputs(proto: onnx.ModelProto, path: Path) -> list[str]:
    """Infer the types of outputs that the file declares without a shape, which onnxruntime runs but onnx refuses.

    Returns the names of those that cannot be inferred; they get an empty shape, for the sake of onnx's checker.
    """
    lacking = [info for info in proto.graph.output if not _has_shape(info)]
    if not lacking:
        return []
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)  # inference folds what it can, and the file's own nodes are to stay
    try:
        types = inferred_types(copy)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}") from error
    for info in lacking:
        info.type.CopyFrom(types.get(info.name, info.type))
    unshaped = [info for info in lacking if not _has_shape(info)]
    for info in unshaped:
        info.type.tensor_type.shape.SetInParent()
    return [info.name for info in unshaped]


def _has_shape(info: onnx.ValueInfoProto) -> bool:
    return info.type.WhichOneof("value") not in (None, "tensor_type") or info.type.tensor_type.HasField("shape")


def _inlined(proto: onnx.ModelProto) -> onnx.ModelProto:
    model = ir.serde.deserialize_model(proto)
    OutputFixPass()(model)  # a function that hands an input straight through would rename its caller's value
    return ir.to_proto(InlinePass()(model).model)


def _settle(model: ir.Model, path: Path) -> list[Note]:
    """Bring a model of either origin to the common form, and refuse what no pass could work on."""
    notes = lift_constants(model)
    _check_nodes(model, path)
    notes += check_numbers(model, about=str(path))
    if fault := next(quantization_faults(model.graph), None):
        raise ModelError(f"{path}: {fault}")
    notes += _remarks(model)
    try:
        infer_shapes(model)
    except ModelError as error:
        notes.append(warning(error.message))
    return notes


def _check_nodes(model: ir.Model, path: Path) -> None:
    for node in model.graph.all_nodes():
        for name, attribute in node.attributes.items():
            if attribute.is_ref():  # functions are inlined: nothing is left that could give it a value
                what = f"has the attribute {name!r} refer to one of a function, which it is not part of"
                raise ModelError(f"{path}: node {node.name!r} {what}")
        if node.domain not in _KNOWN_DOMAINS and not node.domain.startswith(_KNOWN_PREFIXES):
            what = f"operator {node.op_type} of the custom domain {node.domain!r}"
            raise ModelError(f"{path}: node {node.name!r} is {what}, which onnxruntime does not know")


def _remarks(model: ir.Model) -> list[Note]:
    """Say what passes will leave alone: quantized parts, and bodies but for their weights."""
    notes: list[Note] = []
    quantized = [node for node in model.graph.all_nodes() if is_quantized(node)]
    if quantized:
        kinds = ", ".join(sorted({node.op_type for node in quantized}))
        notes.append(warning(f"the model is quantized already, at {len(quantized)} nodes ({kinds})"))
    for node in model.graph:
        if any(True for _ in bodies(node)):
            what = "is not cut, nor fitted to samples; its weights are compressed like others"
            notes.append(skipped(f"what {node.op_type} holds {what}", node.name))
    return notes
