"""Data by which ONNX Runtime's static quantiser chooses scales."""
import numpy as np
from onnxruntime.quantization import CalibrationDataReader


class Calibration(CalibrationDataReader):
    """Batches of token ids, every one of them shown by the mask.

    inputs: names of the model's inputs, of input_ids, attention_mask and token_type_ids
    """

    def __init__(self, batches, inputs):
        fill = {"attention_mask": np.ones_like, "token_type_ids": np.zeros_like}
        self.batches = iter(
            [{name: fill.get(name, np.asarray)(ids) for name in inputs} for ids in batches]
        )

    def get_next(self):
        return next(self.batches, None)
