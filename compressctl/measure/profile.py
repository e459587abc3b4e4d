"""Where the time goes: by operator and by node, and which operators onnxruntime really runs."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import GraphProto

from compressctl.arrays import Array, Floats
from compressctl.errors import ModelError, OutputError
from compressctl.measure.session import Session
from compressctl.model.ops import CONTROL_FLOW
from compressctl.scratch import temporary_folder

WARM_UP = 2  # runs that are not counted
SLOWEST = 15  # nodes to list
_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class OpTime:
    """Time of all nodes of one operator in one inference: milliseconds, share of all operators, number of nodes."""

    op: str
    ms: float
    share: float
    count: int


@dataclass(frozen=True)
class NodeTime:
    """Time of one node in one inference: milliseconds, share of all operators."""

    name: str
    op: str
    ms: float
    share: float


@dataclass(frozen=True)
class Profile:
    """Time in operators during one inference, profiling on.

    Attributes:
        total_ms: of all nodes; a node's time is its median over the runs.
        by_op: all operators, slowest first.
        slowest: the slowest nodes, slowest first.
    """

    total_ms: float
    by_op: tuple[OpTime, ...]
    slowest: tuple[NodeTime, ...]


def profile(path: Path, feeds: Mapping[str, Array], *, threads: int = 0, runs: int = 20) -> Profile:
    """Return where a model spends its time, from onnxruntime's profiler.

    A body's nodes count for themselves; If, Loop and Scan only for what they add. Nodes carry the names of the
    optimised graph, where fusions replace names.

    Raises:
        ModelError, DataError: the model cannot be opened, or cannot run on the feeds.
    """
    return _summary(node_times(path, feeds, threads=threads, runs=runs))


def node_times(
    path: Path, feeds: Mapping[str, Array], *, threads: int = 0, runs: int = 20
) -> dict[tuple[str, str], float]:
    """Return the milliseconds that each node takes in one inference, by name and operator; see `profile`."""
    with temporary_folder() as folder:
        session = Session(path, threads=threads, profile=folder / "profile")
        session.time(feeds, WARM_UP + runs)
        events = json.loads(session.end_profiling().read_text(encoding="utf-8"))
    starts = sorted(event["ts"] for event in events if event["name"] == "model_run")
    nodes: dict[tuple[str, str], Floats] = defaultdict(lambda: np.zeros(len(starts)))
    for event, microseconds in _own_times(events):
        run = int(np.searchsorted(starts, event["ts"], side="right")) - 1
        nodes[event["name"].removesuffix(_SUFFIX), event["args"]["op_name"]][run] += microseconds / 1e3
    return {key: float(np.median(times[WARM_UP:])) for key, times in nodes.items()}


def _own_times(events: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], float]]:
    """Yield the events of nodes with their microseconds, less those of the nodes in their bodies."""
    kernels = [event for event in events if event["cat"] == "Node" and event["name"].endswith(_SUFFIX)]
    kernels.sort(key=lambda event: (event["ts"], -event["dur"]))
    own = [float(event["dur"]) for event in kernels]
    parents: list[int] = []
    for i, event in enumerate(kernels):
        while parents and kernels[parents[-1]]["ts"] + kernels[parents[-1]]["dur"] < event["ts"] + event["dur"]:
            parents.pop()
        if parents:
            own[parents[-1]] -= event["dur"]
        if event["args"]["op_name"] in CONTROL_FLOW:
            parents.append(i)
    return zip(kernels, own, strict=True)


def _summary(nodes: Mapping[tuple[str, str], float]) -> Profile:
    total = sum(nodes.values())
    share = 1 / total if total else 0.0
    times: dict[str, list[float]] = defaultdict(list)
    for (_, op), ms in nodes.items():
        times[op].append(ms)
    by_op = [OpTime(op, sum(each), sum(each) * share, len(each)) for op, each in times.items()]
    by_node = [NodeTime(name, op, ms, ms * share) for (name, op), ms in nodes.items()]
    by_op.sort(key=lambda row: -row.ms)
    by_node.sort(key=lambda row: -row.ms)
    return Profile(total, tuple(by_op), tuple(by_node[:SLOWEST]))


def executed_ops(path: Path) -> dict[str, int]:
    """Return how often each operator occurs in the graph that onnxruntime runs, after all its optimisations.

    Its own operators go by their names (QLinearConv, FusedConv, DynamicQuantizeMatMul, …); `[NCHWc]` marks those of the
    blocked layout. Bodies of If, Loop and Scan are included. Most frequent first.

    Raises:
        ModelError: the model cannot be opened.
    """
    return open_with_ops(path, threads=1)[1]


def open_with_ops(path: Path, *, threads: int) -> tuple[Session, dict[str, int]]:
    """Return a session of a model file, and the operators that it runs; see `executed_ops`.

    Raises:
        ModelError: the model cannot be opened.
    """
    session, graph = _optimized(path, threads)
    return session, dict(sorted(Counter(_ops(graph)).items(), key=lambda item: (-item[1], item[0])))


def optimized_nodes(path: Path) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return name, operator and outputs of the nodes of the main graph that onnxruntime runs, in its order.

    Raises:
        ModelError: the model cannot be opened.
    """
    return [(node.name, node.op_type, tuple(node.output)) for node in _optimized(path, 1)[1].node]


def _optimized(path: Path, threads: int) -> tuple[Session, GraphProto]:
    with temporary_folder() as folder:
        optimized = folder / "optimized.onnx"
        with suppress(OSError):  # its weights, of which nothing is read, go nowhere
            Path(f"{optimized}.data").symlink_to(os.devnull)
        try:
            session = Session(path, threads=threads, optimized_path=optimized)
            return session, onnx.load(optimized, load_external_data=False).graph
        except (ModelError, DecodeError, OSError) as error:
            Session(path, threads=1)  # says what is wrong with the model, where it is that
            hint = "TMPDIR needs room"
            raise OutputError(f"the graph that onnxruntime runs cannot be written to {folder.parent}", hint) from error


def _ops(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield node.op_type + ("[NCHWc]" if node.domain == "com.microsoft.nchwc" else "")
        for attribute in node.attribute:
            for body in (*attribute.graphs, *((attribute.g,) if attribute.HasField("g") else ())):
                yield from _ops(body)
