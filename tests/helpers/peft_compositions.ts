/** The combinations of `graft compose` beside those of PEFT's `add_weighted_adapter`. */
import { assertEquals } from "@std/assert";
import { toNumbers } from "../../src/graph/tensor.ts";
import { matrixOf, product } from "../../src/linalg/matrix.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { composeAdapters, type ComposeInput } from "../../src/tasks/compose.ts";
import { saveRandomAdapter } from "./adapter_folder.ts";
import { modelDir } from "./fixture_models.ts";
import { askPython } from "./run_python.ts";

const BASE = "tiny-llama-genai-fp32";
/** One module, because `dare` draws in the order of the modules. */
const ONE = ["model.layers.1.self_attn.q_proj"];

type Update = readonly (readonly number[])[];

interface Case {
  readonly compose: Partial<ComposeInput>;
  readonly adapters: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
  /** By what PEFT's result is larger than it should be. */
  readonly peftFactor?: number;
}

const both = ["a", "b"];
const one = ["one-a", "one-b"];
const CASES: readonly Case[] = [
  { adapters: both, compose: { combinationType: "linear" }, options: {} },
  { adapters: both, compose: { combinationType: "cat" }, options: {} },
  { adapters: ["a", "other-rank"], compose: { combinationType: "cat" }, options: {} },
  // Another alpha, ranks and alphas by pattern, and rsLoRA: each with its own scaling.
  { adapters: ["a", "patterns"], compose: { combinationType: "cat" }, options: {} },
  { adapters: ["a", "rslora"], compose: { combinationType: "cat" }, options: {} },
  { adapters: ["a", "patterns"], compose: { rank: 3 }, options: { svd_rank: 3 } },
  { adapters: both, compose: {}, options: { combination_type: "svd" } },
  // PEFT keeps use_rslora of the first adapter beside alpha = rank, a scaling of √rank.
  {
    adapters: ["rslora", "a"],
    compose: { combinationType: "cat" },
    options: {},
    peftFactor: Math.sqrt(8),
  },
  ...["ties", "magnitude_prune", "ties_svd", "magnitude_prune_svd"].map((type) => ({
    adapters: both,
    compose: { combinationType: type as ComposeInput["combinationType"], density: 0.6 },
    options: {},
  })),
  {
    adapters: both,
    compose: { combinationType: "ties", density: 0.6, majoritySignMethod: "frequency" },
    options: { majority_sign_method: "frequency" },
  },
  ...["dare_linear", "dare_ties", "dare_linear_svd", "dare_ties_svd"].map((type) => ({
    adapters: one,
    compose: { combinationType: type as ComposeInput["combinationType"], density: 0.7, seed: 5 },
    options: {},
  })),
];

function saveAdapters(folder: string): void {
  saveRandomAdapter(`${folder}/a`, BASE, { seed: 1 });
  saveRandomAdapter(`${folder}/b`, BASE, { seed: 2, alpha: 3 });
  saveRandomAdapter(`${folder}/other-rank`, BASE, {
    seed: 3,
    rank: 2,
    targetModules: ["q_proj", "up_proj"],
  });
  saveRandomAdapter(`${folder}/patterns`, BASE, {
    seed: 4,
    rankPattern: { q_proj: 3 },
    alphaPattern: { "layers.0.self_attn.q_proj": 7 },
  });
  saveRandomAdapter(`${folder}/rslora`, BASE, { seed: 5, useRslora: true });
  for (const [i, path] of one.entries()) {
    saveRandomAdapter(`${folder}/${path}`, BASE, { seed: 6 + i, targetModules: ONE });
  }
}

const runPeft = (request: unknown) =>
  askPython<readonly Readonly<Record<string, Update>>[]>("peft_combinations.py", request);

/** How far a combination is from PEFT's. */
export interface CompositionParity {
  /** The combination and its adapters, or the folder that PEFT has loaded. */
  readonly what: string;
  readonly path: string;
  /** Largest difference of an element of a module's update, relative to its largest. */
  readonly difference: number;
}

/** Composes random adapters in both programs, and lets PEFT load two of graft's. */
export async function compareCompositions(folder: string): Promise<readonly CompositionParity[]> {
  saveAdapters(folder);
  const weights = [1, -0.5];
  const cases = CASES.map(({ adapters, compose, options }) => ({
    adapters: adapters.map((name) => `${folder}/${name}`),
    weights,
    seed: compose.seed ?? 0,
    options: {
      combination_type: compose.combinationType ?? "svd",
      ...compose.density === undefined ? {} : { density: compose.density },
      ...options,
    },
  }));
  const composed = CASES.map((_, i) => `${folder}/composed-${i}`);
  for (const [i, { adapters, compose }] of CASES.entries()) {
    const adapterPath = adapters.map((name) => `${folder}/${name}`);
    const savePath = composed[i];
    await composeAdapters({ adapterPath, adapterWeights: weights, ...compose, savePath });
  }
  // A concatenation of other modules and ranks is padded with zeros.
  const loaded = [2, 5].map((i) => composed[i]);
  const results = await runPeft({
    base: modelDir("tiny-llama-hf"),
    cases: [...cases, ...loaded.map((dir) => ({ adapters: [dir] }))],
  });
  const found = results.slice(CASES.length);
  return [
    ...CASES.flatMap(({ adapters, compose, peftFactor = 1 }, i) => {
      const what = `${JSON.stringify(compose)} of ${adapters}`;
      return parities(updatesOf(composed[i]), results[i], peftFactor, what);
    }),
    ...loaded.flatMap((dir, i) => parities(updatesOf(dir), found[i], 1, `${dir} in PEFT`)),
  ];
}

/** B·A by module; the scale of a composed adapter is 1. */
function updatesOf(folder: string): ReadonlyMap<string, Float64Array> {
  const { lora, config } = loadAdapter(folder).adapter;
  assertEquals(config.alpha, config.rank);
  return new Map([...lora].map(([path, { a, b }]) => {
    const [rank, cols] = a.dims;
    const [left, right] = [
      matrixOf(b.dims[0], rank, toNumbers(b)),
      matrixOf(rank, cols, toNumbers(a)),
    ];
    return [path, product(left, right).values];
  }));
}

function parities(
  updates: ReadonlyMap<string, Float64Array>,
  peft: Readonly<Record<string, Update>>,
  peftFactor: number,
  what: string,
): readonly CompositionParity[] {
  assertEquals([...updates.keys()].sort(), Object.keys(peft).sort(), what);
  return [...updates].map(([path, update]) => {
    const values = peft[path].flat().map((value) => value / peftFactor);
    const most = Math.max(...values.map(Math.abs));
    const off = Math.max(...values.map((value, k) => Math.abs(value - update[k])));
    return { what, path, difference: off / most };
  });
}
