"""Quantises the linear layers of a model in floats in blocks, as ONNX Runtime's own quantisers do.

usage: quantize_blocks.py SOURCE.onnx TARGET.onnx FORM BLOCK_SIZE

FORM is int4-zero-points (MatMulNBits of 4 bits with a zero point for each block, accuracy level 4) or
nf4 (MatMulBnb4). Needs onnx and onnxruntime.
"""
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.capi._pybind_state import quantize_matmul_4bits
from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer


def nf4(model, block_size):
    quantizer = MatMulBnb4Quantizer(
        model, MatMulBnb4Quantizer.NF4, block_size=block_size
    )
    quantizer.process()
    return quantizer.model.model


def int4_zero_points(model, block_size):
    """What ONNX Runtime's MatMulNBitsQuantizer does, which needs a package more."""
    graph = model.graph
    weights = {value.name: value for value in graph.initializer}
    for i, node in enumerate(graph.node):
        if node.op_type != "MatMul" or node.input[1] not in weights:
            continue
        stored = weights[node.input[1]]
        columns, rows = stored.dims
        blocks = -(-columns // block_size)
        codes = np.zeros((rows, blocks, block_size // 2), np.uint8)
        scales = np.zeros((rows, blocks), np.float32)
        zero_points = np.zeros((rows, (blocks + 1) // 2), np.uint8)
        values = np.ascontiguousarray(numpy_helper.to_array(stored))
        quantize_matmul_4bits(
            codes, values, scales.ravel(), zero_points.ravel(), block_size, rows, columns, False
        )
        names = [f"{stored.name}_{part}" for part in ("Q4", "scales", "zero_points")]
        graph.initializer.remove(stored)
        for name, tensor in zip(names, (codes, scales, zero_points)):
            graph.initializer.append(numpy_helper.from_array(tensor, name))
        attributes = dict(K=columns, N=rows, bits=4, block_size=block_size, accuracy_level=4)
        product = helper.make_node(
            "MatMulNBits",
            [node.input[0], *names],
            node.output,
            node.name,
            domain="com.microsoft",
            **attributes,
        )
        product.metadata_props.extend(node.metadata_props)
        graph.node[i].CopyFrom(product)
    if "com.microsoft" not in [opset.domain for opset in model.opset_import]:
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


FORMS = {"int4-zero-points": int4_zero_points, "nf4": nf4}


def main():
    source, target, form, block_size = sys.argv[1:]
    model = FORMS[form](onnx.load(source), int(block_size))
    onnx.save(model, target)


if __name__ == "__main__":
    main()
