"""Writes golden.gguf with the gguf package of llama.cpp.

    pip install gguf==0.19.0
    python golden.py
"""

import os

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

w = GGUFWriter(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.gguf"), "llama")
w.add_block_count(7)
w.add_layer_norm_rms_eps(1e-5)
w.add_add_bos_token(True)
w.add_token_list(["a", "ß", ""])
w.add_token_types([1, -3, 6])
w.add_token_scores([0.0, -1.5, 1e30])
w.add_tensor("a", np.arange(6, dtype=np.float32).reshape(2, 3))
bits = np.array([1, -2.5, 65280], dtype=np.float32).view(np.uint32) >> 16
w.add_tensor("b", bits.astype(np.uint16).view(np.uint8), raw_dtype=GGMLQuantizationType.BF16)
w.add_tensor("c", np.array([[[0.5, -0.25], [65504, 0]]], dtype=np.float16))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
