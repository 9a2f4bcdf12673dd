/** Lowering over a batch's sizes: one graph for the batches that it serves. */
import { assertEquals } from "@std/assert";
import { pullback } from "../../src/autodiff/pullback.ts";
import { boundGraph } from "../../src/graph/bind_graph.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { asDims } from "../../src/graph/extents.ts";
import { textOf } from "../../src/graph/graph_text.ts";
import { Sizes } from "../../src/graph/size.ts";
import type { Graph, Model } from "../../src/graph/types.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { bindInputs, type BoundInput } from "../../src/plan/inputs.ts";
import { lowerForTraining } from "../../src/plan/lower.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { comparable } from "../helpers/over_sizes.ts";
import { inlined } from "../helpers/plan_at_batch.ts";
import { adapted } from "../helpers/training_step.ts";

type Shape = { readonly batch: number; readonly length: number };

const valuesOf = (shape: Shape) => new Map(Object.entries(shape));

/** Asked of the symbols themselves. */
const SYMBOLS = ["batch, 2 for all from 2 on", "length, 2 for all from 2 on"];

/** What a model's lowering asks of sizes besides. */
const ASKED: Readonly<Record<string, readonly string[]>> = {
  // Rows of the rotary tables.
  "tiny-llama-genai-fp32": ["length <= 256"],
  "tiny-llama-genai-int4": ["length <= 256"],
  // Which constants are small enough to be folded.
  "tiny-llama-torch-fp32": [
    "length <= 4096",
    "batch <= 4096",
    "length*length <= 4096",
    "batch*length <= 4096",
    "2*batch*length <= 4096",
    "8*length <= 4096",
    "16*length <= 4096",
  ],
  "tiny-bert-torch-fp32": [
    "128 <= length", // positions
    "length <= 4096",
    "batch*length <= 4096",
    "64*batch*length <= 4096",
    "64*length <= 4096",
    "batch <= 4096",
    "2*batch*length <= 4096",
  ],
  "tiny-bert-dynamic-int8": [
    "128 <= length",
    "length <= 4096",
    "batch <= 4096",
    "64*length <= 4096",
    "batch*length <= 4096",
    "64*batch*length <= 4096",
    "2*batch*length <= 4096",
  ],
};

/** Models whose attention goes by blocks of queries. */
const IN_BLOCKS: readonly string[] = ["tiny-llama-genai-fp32", "tiny-llama-genai-int4"];
const BLOCKS = "blocks of 64 or more(length)";

/** Types of a model's inputs over sizes. */
function openInputs({ graph }: Model, here: Shape, sizes: Sizes) {
  const [batch, length] = [sizes.symbol("batch"), sizes.symbol("length")];
  const extentOf = (dim: number) => dim === here.batch ? batch : dim === here.length ? length : dim;
  return new Map(
    [...bindInputs(graph, here)].map(([name, { dtype, dims }]) => [
      name,
      { dtype, dims: asDims(dims.map(extentOf)) },
    ]),
  );
}

/** Lowers over sizes, and compares with what is lowered at numbers; returns what was asked. */
function askedOf(
  { model, trainable }: ReturnType<typeof adapted>,
  keepsAttention: boolean,
  [here, there]: readonly [Shape, Shape],
): readonly string[] {
  const outputs = [model.graph.outputs[0].name];
  const how = { trainable, keepsAttention };
  const sizes = new Sizes(valuesOf(here));
  const graph = lowerForTraining(model, openInputs(model, here, sizes), outputs, how);
  const asked = sizes.decisions.map(({ text }) => text);
  for (const shape of [here, there]) {
    const bound = sizes.at(valuesOf(shape));
    if (bound === undefined) throw new Error(`It serves no other: ${asked.join("; ")}`);
    const made = lowerForTraining(model, bindInputs(model.graph, shape), outputs, how);
    assertEquals(textOf(inlined(boundGraph(graph, bound))), textOf(inlined(made)));
  }
  return asked;
}

for (const [name, asked] of Object.entries(ASKED)) {
  const shapes = [{ batch: 6, length: 100 }, { batch: 11, length: 71 }] as const;
  for (const keepsAttention of [true, false]) {
    const form = keepsAttention ? "in one piece" : "as it runs";
    Deno.test(`lowerForTraining() over sizes gives the graph of every batch, attention ${form}, ${name}`, () => {
      const blocks = !keepsAttention && IN_BLOCKS.includes(name) ? [BLOCKS] : [];
      const found = askedOf(adapted(readModel(modelDir(name))), keepsAttention, shapes);
      assertEquals(found, [...SYMBOLS, ...asked, ...blocks]);
    });
  }
}

for (const name of IN_BLOCKS) {
  Deno.test(`lowerForTraining() over sizes goes by as many blocks at every length, ${name}`, () => {
    const shapes = [{ batch: 6, length: 200 }, { batch: 11, length: 243 }] as const;
    const found = askedOf(adapted(readModel(modelDir(name))), false, shapes);
    assertEquals(found, [...SYMBOLS, ...ASKED[name], BLOCKS]);
  });
}

/** Modules of the others, too. */
const MODELS = Object.fromEntries(Object.keys(ASKED).map((name) => [name, "q"]));

/** Exports of other architectures and tools, with a module of each that adapters fit. */
const DIALECTS = {
  albert: "q",
  "bert-attention": "q",
  "bert-integer-to-float": "q",
  "bert-masked": "q",
  "bert-multi-head": "q",
  "bert-qattention": "q",
  "bert-qdq": "q",
  "bert-qoperator": "q",
  bloom: "query_key_value",
  deberta: "query_proj",
  gemma2: "q",
  gpt2: "c_attn",
  "llama-bnb4": "q",
  "llama-multi-head": "q",
  "llama-qdq-int4": "q",
  "llama-rotary": "q",
  modernbert: "Wqkv",
  phi: "q",
  qwen3: "q",
} as const;

/** Questions that no lowering can do without; all others would narrow what a graph serves. */
const INEVITABLE: readonly RegExp[] = [
  /, 2 for all from 2 on$/,
  /<= (4096|256)$/, // whether a constant is folded, or a product sums
  /^8\*length <= 4194304$/, // whether negated sines are a constant
  /^blocks of 64 or more\(length\)$/,
  /^length <= \d+$/, // a table's rows, a window
  /^\d+ <= length$/,
  /^2\*batch\*length\*length <= 32\*batch\*length$/, // which operand is scaled
];

/** A lowered graph with the gradients of what is trained, for any cotangent of its output. */
function differentiated(graph: Graph, trainable: ReadonlySet<string>): Graph {
  const b = new GraphBuilder(inferTraining);
  for (const { name, type } of graph.inputs) {
    b.input(name, type!.dtype, type!.shape as readonly number[]);
  }
  for (const [name, value] of graph.initializers) {
    if (trainable.has(name)) b.variable(name, value);
    else b.initializer(name, value);
  }
  for (const node of graph.nodes) b.add(node);
  const [{ name: y }] = graph.outputs;
  const seed = b.input("cotangent", "float32", b.shape(y));
  const found = pullback(b, graph.nodes, new Map([[y, seed]]), trainable);
  return b.build("gradients", [...found.values()].filter((ct) => ct !== undefined));
}

for (const [name, module] of Object.entries({ ...MODELS, ...DIALECTS })) {
  Deno.test(`pullback() over sizes gives the gradients' graph of every batch, ${name}`, () => {
    const shapes = [{ batch: 6, length: 30 }, { batch: 7, length: 26 }] as const;
    const dir = modelDir(name in DIALECTS ? `dialects/${name}` : name);
    const { model, trainable } = adapted(readModel(dir), { targetModules: [module] });
    const outputs = [model.graph.outputs[0].name];
    const how = { trainable, dropout: 0.1 };
    const gradients = (inputs: ReadonlyMap<string, BoundInput>) =>
      differentiated(lowerForTraining(model, inputs, outputs, how), trainable);
    const sizes = new Sizes(valuesOf(shapes[0]));
    const graph = gradients(openInputs(model, shapes[0], sizes));
    const asked = sizes.decisions.map(({ text }) => text);
    assertEquals(asked.filter((text) => !INEVITABLE.some((known) => known.test(text))), []);
    for (const shape of shapes) {
      const bound = sizes.at(valuesOf(shape))!;
      assertEquals(
        comparable(boundGraph(graph, bound)),
        comparable(gradients(bindInputs(model.graph, shape))),
      );
    }
  });
}

for (const [name, module] of Object.entries(DIALECTS)) {
  Deno.test(`lowerForTraining() over sizes asks nothing that it could do without, ${name}`, () => {
    const shapes = [{ batch: 6, length: 30 }, { batch: 7, length: 26 }] as const;
    const model = readModel(modelDir(`dialects/${name}`));
    for (const keepsAttention of [true, false]) {
      const asked = askedOf(adapted(model, { targetModules: [module] }), keepsAttention, shapes);
      assertEquals(asked.filter((text) => !INEVITABLE.some((known) => known.test(text))), []);
    }
  });
}
