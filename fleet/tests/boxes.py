"""Boxes without a network: what they answer, and a grid that asks them."""

import json
from dataclasses import replace

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid

from graft_fleet.layout import Layer, count_numbers, format_layers
from graft_fleet.offline import be_task

be_task()

LAYERS = (Layer("h.0.q", 2, 6, 8), Layer("h.0.v", 2, 6, 5), Layer("head.weight", 0, 5, 3))


def layers_of_rank(rank):
    return tuple(replace(layer, rank=rank) if layer.rank else layer for layer in LAYERS)


def vector_for(layers, seed, parts="AB"):
    numbers = np.random.default_rng(seed).normal(size=count_numbers(layers, parts))
    return numbers.astype(np.float32)


def reply_content(vector, layers=LAYERS, examples=10, loss=0.5, parts=None, text=None):
    layout = {"layers": format_layers(layers) if text is None else text}
    if parts is not None:
        layout["parts"] = parts
    array = vector if isinstance(vector, Array) else Array(np.asarray(vector))
    return RecordDict(
        {
            "layout": ConfigRecord(layout),
            "adapter": ArrayRecord({"adapter": array}),
            "metrics": MetricRecord({"num-examples": examples, "train-loss": loss}),
        }
    )


class Boxes(Grid):
    """A grid of boxes, each a function from a message to a reply, or to None: no answer."""

    def __init__(self, boxes):
        self.boxes = boxes
        self.asked = []
        self.waiting = {}

    def set_run(self, run): ...

    @property
    def run(self): ...

    def create_message(self, *args, **kwargs): ...

    def get_node_ids(self):
        return list(self.boxes)

    def push_messages(self, messages):
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = name = f"m{len(self.asked)}"
            self.asked.append(message)
            ids.append(name)
            reply = self.boxes[message.metadata.dst_node_id](message)
            if isinstance(reply, RecordDict):
                reply = Message(reply, reply_to=message)
            if reply is not None:
                self.waiting[name] = reply
        return ids

    def pull_messages(self, message_ids):
        return [self.waiting.pop(name) for name in list(message_ids) if name in self.waiting]

    def send_and_receive(self, messages, *, timeout=None):
        return self.pull_messages(self.push_messages(list(messages)))


def lines(folder):
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
