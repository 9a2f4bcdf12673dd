"""The peers' side of inference.ts: onnxruntime-genai for language models, onnxruntime for encoders.

usage: python inference_peer.py MODEL ENCODER THREADS

Keeps both models loaded and answers each line of JSON on standard input with what it measured.
Needs the packages onnxruntime-genai, onnxruntime and numpy.
"""

import json
import os
import sys
import time

import numpy as np
import onnxruntime as ort
import onnxruntime_genai as og

model_path, encoder_path, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])


def open_generator():
    config = og.Config(model_path)
    options = {"session_options": {"intra_op_num_threads": threads}}
    config.overlay(json.dumps({"model": {"decoder": options}}))
    return og.Model(config)


def open_encoder():
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    path = os.path.join(encoder_path, "model.onnx")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


model = open_generator()
encoder = open_encoder()
encoder_inputs = [value.name for value in encoder.get_inputs()]


generator = None


def start(prompt, tokens):
    """Reads a prompt; the caches are as long as they need to be. The first token of the answer."""
    global generator
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=len(prompt) + tokens, do_sample=False)
    begin = time.perf_counter()
    generator = og.Generator(model, params)
    generator.append_tokens(prompt)
    generator.generate_next_token()
    ids = [int(generator.get_next_tokens()[0])]
    return {"ms": (time.perf_counter() - begin) * 1000, "ids": ids}


def go_on(tokens):
    """Tokens that follow, each the likeliest."""
    ids = []
    begin = time.perf_counter()
    while len(ids) < tokens:
        generator.generate_next_token()
        ids.append(int(generator.get_next_tokens()[0]))
    return {"ms": (time.perf_counter() - begin) * 1000, "ids": ids}


def padded(rows):
    length = max(len(row) for row in rows)
    ids = np.zeros((len(rows), length), np.int64)
    mask = np.zeros((len(rows), length), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {name: feeds[name] for name in encoder_inputs}


def embed_batch(feeds):
    (states,) = encoder.run(["last_hidden_state"], feeds)
    mask = feeds["attention_mask"][..., None].astype(np.float32)
    mean = (states * mask).sum(1) / mask.sum(1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def embed(batches):
    inputs = [padded(rows) for rows in batches]
    begin = time.perf_counter()
    for feeds in inputs:
        vectors = embed_batch(feeds)
    return {"ms": (time.perf_counter() - begin) * 1000, "vector": vectors[0].tolist()}


def version():
    return {"runtime": f"onnxruntime-genai {og.__version__}, onnxruntime {ort.__version__}"}


tasks = {"prompt": start, "go on": go_on, "embed": embed, "version": version}
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(tasks[request.pop("task")](**request)), flush=True)
