"""Cuts a .tflite file in two at a tensor: a backbone and its head, with the same weights and the same arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

Graph = Any  # the schema's classes have no types
NONE = -1  # an operator's optional input that is left out


def cut(content: bytes, kind: str) -> tuple[bytes, bytes]:
    """kind: builtin operator, such as CONCATENATION; the cut is behind the only one of it. Raises ValueError."""
    graph = _graph(content)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in graph[0].operatorCodes]
    wanted = getattr(schema.BuiltinOperator, kind)
    at = [number for number, each in enumerate(graph[1].operators) if codes[each.opcodeIndex] == wanted]
    if len(at) != 1:
        raise ValueError(f"{len(at)} operators {kind}, not one")
    tensor = int(graph[1].operators[at[0]].outputs[0])
    inputs, outputs = list(graph[1].inputs), list(graph[1].outputs)
    return _part(content, inputs, [tensor]), _part(content, [tensor], outputs)


def _graph(content: bytes) -> tuple[Graph, Graph]:
    """The model and its only graph, as objects."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (graph,) = model.subgraphs
    return model, graph


def _part(content: bytes, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """What computes these outputs from these inputs. Raises ValueError where it needs more than these."""
    model, graph = _graph(content)
    operators = _needed(graph.operators, inputs, outputs)
    used = sorted({index for each in operators for index in (*each.inputs, *each.outputs) if index != NONE} | {*inputs})
    computed = {index for each in operators for index in each.outputs} | {*inputs}
    for index in used:
        if index not in computed and not _is_constant(model, graph.tensors[index]):
            raise ValueError(f"the head would need a second tensor, {graph.tensors[index].name}")
    numbers = {index: number for number, index in enumerate(used)} | {NONE: NONE}
    for each in operators:
        each.inputs = [numbers[int(index)] for index in each.inputs]
        each.outputs = [numbers[int(index)] for index in each.outputs]
    graph.operators, graph.tensors = operators, [graph.tensors[index] for index in used]
    graph.inputs, graph.outputs = ([numbers[int(index)] for index in ends] for ends in (inputs, outputs))
    _keep_used(model, graph)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _needed(operators: Sequence[Graph], inputs: Sequence[int], outputs: Sequence[int]) -> list[Graph]:
    """In their order."""
    wanted, needed = {*map(int, outputs)} - {*map(int, inputs)}, []
    for each in reversed(operators):
        if wanted & {*map(int, each.outputs)}:
            needed.append(each)
            wanted |= {*map(int, each.inputs)} - {*map(int, inputs)}
    return needed[::-1]


def _is_constant(model: Graph, tensor: Graph) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _keep_used(model: Graph, graph: Graph) -> None:
    """Buffers and kinds of operators of this part alone; no signature or metadata, which describe the whole file."""
    model.signatureDefs = model.metadata = None
    kinds = sorted({each.opcodeIndex for each in graph.operators})
    model.operatorCodes = [model.operatorCodes[kind] for kind in kinds]
    for each in graph.operators:
        each.opcodeIndex = kinds.index(each.opcodeIndex)
    buffers = [schema.BufferT()]
    for tensor in graph.tensors:
        if _is_constant(model, tensor):
            buffers.append(copy(model.buffers[tensor.buffer]))
            tensor.buffer = len(buffers) - 1
        else:
            tensor.buffer = 0
    model.buffers = buffers
