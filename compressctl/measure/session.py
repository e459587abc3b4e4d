"""An onnxruntime session on the CPU: the only place where onnxruntime is imported.

Its C++ log is silenced; whatever it cannot load or run comes back as one line.
"""

from __future__ import annotations

import ctypes
import math
import re
import sys
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

from compressctl.arrays import Array, Floats
from compressctl.data.walk import Walk, standing
from compressctl.errors import CompressctlError, DataError, ModelError, RunError
from compressctl.scratch import temporary_folder
from compressctl.tensorspec import TensorSpec, agrees

if TYPE_CHECKING:
    import onnx_ir as ir

_FATAL = 4  # log severity: errors are raised as exceptions, printing them as well would only be noise
ort.set_default_logger_severity(_FATAL)

VERSION: str = ort.__version__
Spinning = Literal["always", "running", "never"]

_FAILURES = (
    state.EPFail,
    state.EngineError,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.ModelLoaded,
    state.NoModel,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
    RuntimeError,
    ValueError,
    MemoryError,
)
_NUMPY_DTYPES = frozenset(np.dtype(code).name for code in "?bBhHiIqQefd") | {"string"}


def give_back_memory() -> None:
    """Give the system what closed sessions freed: glibc keeps a good part of a large model's memory for itself."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


class Session:
    """A model opened in onnxruntime.

    Args:
        model: a file, the bytes of one, or a model in memory.
        threads: threads inside an operator; 0 for onnxruntime's default, one a physical core.
        optimize: all graph optimisations, as users run a model; False for none, which runs the graph as it is written.
        workdir: an existing folder for the temporary file of a model in memory that is too big for bytes.
        profile: prefix of the file that `end_profiling` writes.
        optimized_path: where to write the optimised graph; its big weights go into `<name>.data` beside it.
        arena: keep freed memory for the next run: faster, but memory stays at its peak.
        spinning: when idle threads burn CPU time waiting for work. "running" (between operators, not between runs)
            is what a service under light load sees, and what keeps two sessions in a process from slowing each other.

    Raises:
        ModelError: onnxruntime cannot open the model, or an input or output is not a tensor.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(
        self,
        model: ir.Model | bytes | Path,
        *,
        threads: int = 0,
        optimize: bool = True,
        workdir: Path | None = None,
        profile: Path | None = None,
        optimized_path: Path | None = None,
        arena: bool = True,
        spinning: Spinning = "running",
    ) -> None:
        self.name = _name(model)
        options = _options(threads, optimize, arena, spinning)
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        if optimized_path is not None:
            options.optimized_model_filepath = str(optimized_path)
            key = "session.optimized_model_external_initializers"
            options.add_session_config_entry(f"{key}_file_name", f"{optimized_path.name}.data")
            options.add_session_config_entry(f"{key}_min_size_in_bytes", "1024")
        if not isinstance(model, bytes | Path):
            if workdir is None:
                stack = ExitStack()
                workdir = stack.enter_context(temporary_folder())
                weakref.finalize(self, stack.close)  # it lives as long as the session
            from compressctl.model.save import serialize  # brings onnx_ir, which a worker on files does without

            model = serialize(model, workdir)
        source = str(model) if isinstance(model, Path) else model
        try:
            self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except _FAILURES as error:
            raise _load_error(error, self.name) from None
        self.inputs = tuple(_spec(info, f"{self.name}: input") for info in self._session.get_inputs())
        self.outputs = tuple(_spec(info, f"{self.name}: output") for info in self._session.get_outputs())
        self._input_by_name = {spec.name: spec for spec in self.inputs}
        self._output_by_name = {spec.name: spec for spec in self.outputs}

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run the model once.

        Args:
            feeds: an array for every input, of its type and shape.
            outputs: the names of the outputs wanted, all by default.

        Raises:
            DataError: an input is missing, unknown, or of the wrong type or shape.
            ModelError: an operator fails.
        """
        names = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        self._check(feeds, names)
        if not names:
            return {}
        try:
            if self._plain(names):
                return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
            values = {name: _to_ort(feed) for name, feed in feeds.items()}
            results = self._session.run_with_ort_values(names, values)
            return {name: _from_ort(value) for name, value in zip(names, results, strict=True)}
        except _FAILURES as error:
            raise self._run_error(error) from None

    def time(self, feeds: Mapping[str, Array], runs: int) -> Floats:
        """Run the model `runs` times in a row; return the seconds that each run took, shape (runs,).

        Raises:
            DataError, ModelError: as `run`.
        """
        return self.time_steps(standing(feeds), runs)[:, 0]

    def time_steps(self, walk: Walk, times: int) -> Floats:
        """Run the model on all steps of a walk, `times` times in a row, from the first step's states each time.

        Returns:
            The seconds that each step took, shape (times, steps). What is done to carry states is not counted.

        Raises:
            DataError, ModelError: as `run`; the model lacks the output of a state.
        """
        names = [spec.name for spec in self.outputs]
        self._check(walk.first, walk.states.values())
        plain = self._plain(names)
        fed = [*map(dict, walk.steps)]
        steps = fed if plain else [{name: _to_ort(feed) for name, feed in feeds.items()} for feeds in fed]
        carried = [(name, names.index(output)) for name, output in walk.states.items()]
        call = self._session.run if plain else self._session.run_with_ort_values
        seconds = np.empty((times, len(steps)))
        results: list[Any] = []
        try:
            for time in range(times):
                for step, values in enumerate(steps):
                    if step:
                        for name, index in carried:
                            values[name] = results[index]
                    start = perf_counter()
                    results = call(names, values)
                    seconds[time, step] = perf_counter() - start
        except _FAILURES as error:
            raise self._run_error(error) from None
        return seconds

    def end_profiling(self) -> Path:
        """Stop profiling; return the JSON file of trace events that it wrote."""
        return Path(self._session.end_profiling())

    def _plain(self, names: Sequence[str]) -> bool:
        """Whether numpy knows the types of all inputs and of the outputs named, so that onnxruntime takes arrays."""
        specs = [*self.inputs, *(self._output_by_name[name] for name in names)]
        return all(spec.dtype in _NUMPY_DTYPES for spec in specs)

    def _run_error(self, error: Exception) -> CompressctlError:
        kind = DataError if isinstance(error, state.InvalidArgument) else RunError
        return kind(f"onnxruntime cannot run {self.name}: {_one_line(error)}")

    def _check(self, feeds: Mapping[str, Array], outputs: Iterable[str]) -> None:
        for name in outputs:
            if name not in self._output_by_name:
                raise ModelError(f"{self.name} has no output {name!r}", f"it has {', '.join(self._output_by_name)}")
        for name in feeds:
            if name not in self._input_by_name:
                raise DataError(f"{self.name} has no input {name!r}", f"it has {', '.join(self._input_by_name)}")
        for name, spec in self._input_by_name.items():
            if name not in feeds:
                raise DataError(f"no data for input {name!r} of {self.name}", f"it needs {spec}")
            _check_feed(feeds[name], spec, self.name)


def _check_feed(feed: Array, spec: TensorSpec, model: str) -> None:
    dtype = feed.dtype.name
    if dtype != spec.dtype and not (spec.dtype == "string" and feed.dtype.kind in "OUST"):
        raise DataError(f"input {spec.name!r} of {model} is fed {dtype}", f"it needs {spec}")
    if not spec.shape:  # a scalar, or of unknown rank: onnxruntime does not tell them apart
        return
    if not agrees(spec.shape, feed.shape):
        have = "x".join(map(str, feed.shape)) or "a scalar"
        raise DataError(f"input {spec.name!r} of {model} is fed the shape {have}", f"it needs {spec}")


def _name(model: ir.Model | bytes | Path) -> str:
    if isinstance(model, Path):
        return str(model)
    return "the model" if isinstance(model, bytes) else (model.graph.name or "the model")


def _options(threads: int, optimize: bool, arena: bool, spinning: Spinning) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    options.enable_mem_reuse = optimize  # planning it takes time quadratic in the nodes; runs as written are few
    options.enable_cpu_mem_arena = arena
    options.enable_mem_pattern = arena
    if spinning == "never":
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    elif spinning == "running":
        options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _spec(info: Any, where: str) -> TensorSpec:
    kind = re.fullmatch(r"tensor\((\w+)\)", info.type)
    if kind is None:
        raise ModelError(f"{where} {info.name!r} is of type {info.type}", "only tensors are supported")
    shape = tuple(None if isinstance(dim, int) and dim < 0 else dim for dim in info.shape)
    return TensorSpec(info.name, _dtype(kind[1]), shape)


def _dtype(ort_name: str) -> str:
    """Return numpy's or ml_dtypes' name of an onnxruntime type: float8e5m2 is float8_e5m2 there."""
    return {"float": "float32", "double": "float64"}.get(ort_name, re.sub("^float8e", "float8_e", ort_name))


def _to_ort(array: Array) -> ort.OrtValue:
    array = np.ascontiguousarray(array)
    if array.dtype.name in _NUMPY_DTYPES:
        return ort.OrtValue.ortvalue_from_numpy(array)
    from onnx.helper import np_dtype_to_tensor_dtype

    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, np_dtype_to_tensor_dtype(array.dtype))


def _from_ort(value: ort.OrtValue) -> Array:
    name = _dtype(value.data_type().removeprefix("tensor(").removesuffix(")"))
    if name in _NUMPY_DTYPES:
        return np.array(value.numpy())
    import ml_dtypes

    dtype = np.dtype(getattr(ml_dtypes, name))
    size = value.tensor_size_in_bytes()
    if size != dtype.itemsize * math.prod(value.shape()):
        raise ValueError(f"an output of the packed type {name} cannot be read")
    return np.frombuffer(bytearray(ctypes.string_at(value.data_ptr(), size)), dtype).reshape(value.shape())


_UNKNOWN_OPERATOR = re.compile(r"(\S+)\(-?\d+\) is not a registered function/op")
_NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)\((\d+)\) node with name '(.*?)'")
_FAILED_NODE = re.compile(r"Non-zero status code returned while running (\w+) node\. Name:'(.*?)' Status Message: ")
_PLACE = re.compile(  # a C++ file, and the signature of the function there
    r"\S+\.(?:cc|h|cpp):\d+ (?:[^()]*(?:\((?:[^()]|\([^()]*\))*\)[^()\s]*)+(?: const)?(?: \[with [^\]]*\])? )?"
)


def _load_error(error: Exception, name: str) -> ModelError:
    text = _one_line(error)
    if found := _UNKNOWN_OPERATOR.search(text):
        return ModelError(
            f"{name}: onnxruntime does not know the operator {found[1]}", "custom operators cannot be run"
        )
    if found := _NO_KERNEL.search(text):
        operator, version, node = found.groups()
        return ModelError(f"{name}: onnxruntime has no CPU kernel for {operator} (version {version}), node {node!r}")
    return ModelError(f"onnxruntime cannot load {name}: {text}")


def _one_line(error: Exception) -> str:
    """Strip codes, C++ places and signatures from an onnxruntime message."""
    text = " ".join(str(error).split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"^Load model from .*? failed:\s*", "", text)
    return _PLACE.sub("", _FAILED_NODE.sub(r"\1 '\2': ", text)) or type(error).__name__
