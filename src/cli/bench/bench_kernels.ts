/** `graft bench kernels`: the matrix products that a training step can choose from. */
import {
  kernelCachePath,
  kernelSource,
  loadKernels,
  saveKernels,
} from "../../kernels/kernel_cache.ts";
import {
  formsFor,
  KERNEL_FORMS,
  slicedKernel,
  type StoredShape,
} from "../../kernels/kernel_graphs.ts";
import { measureProduct } from "../../kernels/measure_product.ts";
import {
  dequantFormOf,
  gflops,
  integerFormOf,
  type KernelTable,
  type KernelTiming,
  productName,
  slicesAreQuicker,
  timingJson,
  withTimings,
} from "../../kernels/kernel_table.ts";
import { DEFAULT_SHAPES, modelShapes } from "../../kernels/model_shapes.ts";
import { EXIT } from "../../errors.ts";
import { findModelFile } from "../../model/find_model.ts";
import { loadOnnx } from "../../model/load_onnx.ts";
import type { Runner } from "../../runtime/runner.ts";
import { JSON_FLAG, wholeNumbers } from "./bench_flags.ts";
import { command } from "../command.ts";
import { boolean, list, text } from "../flags.ts";
import { longWork } from "../terminal/long_work.ts";
import type { Terminal } from "../terminal/output.ts";
import { openRunner, RUNTIME_FLAGS } from "../runtime_flags.ts";
import { printTable } from "../terminal/table.ts";

export default command({
  name: "bench kernels",
  summary: "Measure the matrix products that a training step can choose from, and keep the figures",
  flags: {
    model: text("Model whose matrices to measure; a small language model's if absent", {
      short: "m",
      placeholder: "DIR",
    }),
    tokens: list("Rows of the activations", { default: ["256", "1024"], placeholder: "NUMBERS" }),
    refresh: boolean("Measure again, instead of reading earlier figures", { default: false }),
    json: JSON_FLAG,
    ...RUNTIME_FLAGS,
  },
  examples: [
    {
      command: "graft bench kernels --model ./smollm2-int4",
      does: "measures the model's shapes; graft train then uses the quickest forms",
    },
  ],
  async run({ flags, terminal }) {
    const tokens = wholeNumbers("--tokens", flags.tokens, 1);
    const shapes = flags.model === undefined ? DEFAULT_SHAPES : shapesOf(flags.model);
    using runner = openRunner(flags);
    const source = kernelSource(runner, flags.threads);
    const known = loadKernels(source) ?? { ...source, measuredAt: "", timings: [] };
    const products = shapes.flatMap((shape) => tokens.map((tokens) => ({ ...shape, tokens })));
    const missing = flags.refresh
      ? products
      : products.filter((product) => !isMeasured(known, product));
    const table = await measure(runner, known, missing, terminal);
    if (missing.length > 0) saveKernels(table);
    show(table, products, missing.length, flags.json, terminal);
    return EXIT.ok;
  },
});

type Product = StoredShape & { readonly tokens: number };

function shapesOf(path: string): readonly StoredShape[] {
  using loaded = loadOnnx(findModelFile(path));
  return modelShapes(loaded.model);
}

/** The timings of one product. */
function timingsOf(table: KernelTable, product: Product): readonly KernelTiming[] {
  const name = productName(product);
  return table.timings.filter((timing) => productName(timing) === name);
}

function isMeasured(table: KernelTable, product: Product): boolean {
  const found = new Set(timingsOf(table, product).map(({ form }) => form));
  return formsFor(product).every(({ name }) => found.has(name));
}

async function measure(
  runner: Runner,
  table: KernelTable,
  products: readonly Product[],
  terminal: Terminal,
): Promise<KernelTable> {
  if (products.length === 0) return table;
  const timings: KernelTiming[] = [];
  const show = longWork(terminal);
  for (const product of products) {
    show(`Measuring ${productName(product)}`);
    const { tokens, ...shape } = product;
    timings.push(...await measureProduct(runner, shape, tokens));
  }
  return withTimings(table, timings, new Date().toISOString());
}

function show(
  table: KernelTable,
  products: readonly Product[],
  measured: number,
  json: boolean,
  terminal: Terminal,
): void {
  const timings = products.flatMap((product) => timingsOf(table, product));
  const dequantForm = dequantFormOf(table) ?? null;
  const integerForm = integerFormOf(table) ?? null;
  const sliced = slicesAreQuicker(table) ?? null;
  const { processor, threads, runtime, measuredAt } = table;
  const file = kernelCachePath(table) ?? null;
  if (json) {
    terminal.print(JSON.stringify({
      processor,
      threads,
      runtime,
      measured_at: measuredAt,
      measured_now: measured,
      cache_file: file,
      dequant_form: dequantForm,
      integer_form: integerForm,
      sliced,
      kernels: timings.map(timingJson),
    }));
    return;
  }
  terminal.print(`${processor}, ${threads} threads, ${runtime}, ${measuredAt}`);
  printTable(timings, [
    { heading: "product", cell: productName },
    { heading: "form", cell: ({ form, saturates }) => saturates ? `${form}, saturates` : form },
    { heading: "ms", cell: ({ milliseconds }) => milliseconds },
    { heading: "GFLOP/s", cell: gflops },
  ], terminal);
  const shown = new Set(timings.map(({ form }) => form));
  for (const { name, about } of KERNEL_FORMS) {
    if (shown.has(name)) terminal.print(`${name}: ${about}`);
  }
  if (dequantForm !== null) {
    terminal.print(`graft train dequantises blocks by ${dequantForm}, the quickest here`);
  }
  if (integerForm !== null) {
    terminal.print(
      `graft train --numeric fast computes ${integerForm}: the quickest here that does not ` +
        "saturate, weights unsigned only where signed ones do",
    );
  }
  if (sliced !== null) {
    terminal.print(
      "graft train --numeric exact multiplies 8-bit weights " +
        (sliced ? `as ${slicedKernel(integerForm!)}` : "in floats") + ", the quickest here",
    );
  }
  if (measured < products.length) {
    terminal.note(
      `${
        products.length - measured
      } of ${products.length} products were measured before (--refresh measures again)`,
    );
  }
  if (file !== null) terminal.note(`The figures are kept in ${file}`);
}
