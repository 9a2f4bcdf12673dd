import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { randomFor } from "../../src/data/mod.ts";
import { toNumbers } from "../../src/graph/tensor.ts";
import { initAdapter } from "../../src/lora/init.ts";
import type { LoraSite } from "../../src/lora/targets.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { relativeDistance } from "../../src/statistics.ts";
import { FLEET, type FleetLayer, FleetRounds } from "../helpers/fleet_rounds.ts";
import { python, testWithPython } from "../helpers/requirements.ts";
import { runPython } from "../helpers/run_python.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const [RANK, ALPHA, SEED] = [3, 6, 11];

function layersOf(rank: number): FleetLayer[] {
  return [
    { name: "model.layers.0.self_attn.q_proj", rank, in: 10, out: 8 },
    { name: "model.layers.1.mlp.up_proj", rank, in: 8, out: 12 },
  ];
}

/** Numbers that tell boxes apart. */
function vectorOf(layers: readonly FleetLayer[], box: number, parts: "AB" | "B"): Float32Array {
  const count = layers.reduce(
    (sum, { rank, in: inputs, out }) => sum + rank * (out + (parts === "AB" ? inputs : 0)),
    0,
  );
  const random = randomFor(SEED, "box", box);
  return Float32Array.from({ length: count }, () => random.next() / 2 ** 31 - 1);
}

/** B·A times alpha / rank, row by row. */
function product(
  b: ArrayLike<number>,
  a: ArrayLike<number>,
  { rank, in: inputs, out }: FleetLayer,
) {
  return Float64Array.from({ length: out * inputs }, (_, i) => {
    const [row, column] = [Math.floor(i / inputs), i % inputs];
    let sum = 0;
    for (let k = 0; k < rank; k++) sum += b[row * rank + k] * a[k * inputs + column];
    return sum * ALPHA / rank;
  });
}

/** A and B of each layer of a whole array. */
function matricesOf(vector: Float32Array, layers: readonly FleetLayer[]) {
  let at = 0;
  const take = (count: number) => vector.subarray(at, at += count);
  return layers.map(({ rank, in: inputs, out }) => ({
    a: take(rank * inputs),
    b: take(out * rank),
  }));
}

/** Runs a Python module in the folder of the server part; what it wrote. */
async function module(...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(python(), {
    args: ["-m", ...args],
    cwd: FLEET,
    env: { FLWR_TELEMETRY_ENABLED: "0", RUFF_NO_CACHE: "true" },
    stdin: "null",
  }).output();
  const text = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  assert(success, text);
  return text;
}

testWithPython(["flwr", "numpy"], "the server part of a fleet passes its own tests", async () => {
  const text = await module(
    ...["unittest", "discover", "--start-directory", "tests", "--top-level-directory", "."],
  );
  assertMatch(text, /^Ran [1-9]\d* tests/m);
});

testWithPython(["ruff"], "the server part of a fleet is formatted and free of lint", async () => {
  await module("ruff", "check");
  await module("ruff", "format", "--check");
});

testWithPython(
  ["flwr", "torch", "peft"],
  "a fleet's stack is the sum of the boxes' products, in graft and in PEFT",
  () =>
    inTempDir(async (folder) => {
      await using fleet = new FleetRounds(folder, {
        ...{ rank: RANK, "global-rank": 8, "lora-alpha": ALPHA, "norm-limit": 0.0 },
        ...{ "min-boxes": 3, "min-replies": 3 },
      });
      const replies = [1, 2, 3].map((box) => {
        const layers = layersOf(box);
        return { box, layers, vector: vectorOf(layers, box, "AB"), examples: box, loss: 1 };
      });
      const { record } = await fleet.round(replies);
      assertEquals(record.replies, 3);
      const { adapter } = loadAdapter(fleet.adapterOf(1));
      const sums = layersOf(RANK).map((_, i) => {
        const parts = replies.map(({ layers, vector }) => {
          const { a, b } = matricesOf(vector, layers)[i];
          return product(b, a, layers[i]);
        });
        return parts[0].map((_, j) =>
          parts.reduce((sum, part, k) => sum + part[j] * (k + 1) / 6, 0)
        );
      });
      for (const [i, layer] of layersOf(8).entries()) {
        const { a, b } = adapter.lora.get(layer.name)!;
        const found = product(toNumbers(b), toNumbers(a), layer);
        assert(relativeDistance(found, sums[i]) <= 1e-6, layer.name);
      }
      Deno.writeTextFileSync(join(folder, "sums.json"), JSON.stringify(sums.map((s) => [...s])));
      await runPython(LOADS_IN_PEFT, [fleet.adapterOf(1), join(folder, "sums.json")]);
    }),
);

const LOADS_IN_PEFT = `
import json, sys, torch
from peft import PeftModel
from torch import nn

def tree(leaves):
    root = nn.Module()
    for path, layer in leaves.items():
        at = root
        *parents, last = path.split(".")
        for name in parents:
            if not hasattr(at, name):
                at.add_module(name, nn.Module())
            at = getattr(at, name)
        at.add_module(last, layer)
    return root

leaves = {
    "model.layers.0.self_attn.q_proj": nn.Linear(10, 8),
    "model.layers.1.mlp.up_proj": nn.Linear(8, 12),
}
model = PeftModel.from_pretrained(tree(leaves), sys.argv[1])
for (path, base), wanted in zip(leaves.items(), json.load(open(sys.argv[2]))):
    layer = model.get_submodule(f"base_model.model.{path}")
    found = layer.get_delta_weight("default").detach().double().flatten()
    wanted = torch.tensor(wanted, dtype=torch.float64)
    assert torch.linalg.norm(found - wanted) <= 1e-6 * torch.linalg.norm(wanted), path
`;

testWithPython(
  ["flwr", "numpy"],
  "a private fleet saves the A that graft draws from the seed, although it never travels",
  () =>
    inTempDir(async (folder) => {
      await using fleet = new FleetRounds(folder, {
        ...{ aggregation: "private", rank: RANK, "lora-alpha": ALPHA, seed: SEED },
        "norm-limit": 0.0,
      });
      const layers = layersOf(RANK);
      const replies = [1, 2].map((box) => {
        const vector = vectorOf(layers, box, "B");
        return { box, layers, vector, parts: "B" as const, examples: 1, loss: 1 };
      });
      await fleet.round(replies);
      const { adapter } = loadAdapter(fleet.adapterOf(1));
      const sites = layers.map((layer) => ({
        module: { path: layer.name, inFeatures: layer.in, outFeatures: layer.out },
        rank: RANK,
      })) as LoraSite[];
      const drawn = initAdapter(sites, "kaiming", randomFor(SEED, "adapter"));
      let at = 0;
      for (const { name, out } of layers) {
        const { a, b } = adapter.lora.get(name)!;
        assertEquals(a, drawn.get(name)!.a);
        const [one, other] = replies.map(({ vector }) => vector.subarray(at, at + out * RANK));
        at += out * RANK;
        const mean = one.map((value, i) => (value + other[i]) / 2);
        assert(relativeDistance(toNumbers(b), mean) <= 1e-6, name);
      }
    }),
);
