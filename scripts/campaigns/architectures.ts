/**
 * Trains, evaluates and merges tiny models of many architectures, as PyTorch's two exporters write them,
 * in floats and in 4 bits, integers and NF4, and encoders and GPT-2 as ONNX Runtime's optimiser and its quantisers make
 * them: `deno task campaign:architectures [NAME…]`.
 *
 * What must hold: the first loss of training is that of the inference graph, where that has a head, the
 * adapter lowers it, and the merged model has the adapter's loss. Prints one JSON object a model and ends with 1 where
 * something does not. Takes `GRAFT_PYTHON`, else `.venv/bin/python`, with torch, transformers, onnx and
 * onnxscript.
 */
import { outputOf, PYTHON } from "./commands.ts";

const EXPORTERS = ["dynamo", "torchscript"];
/** How far losses may lie apart, relative from 1 on. */
interface Tolerances {
  /** Of training and the inference graph. */
  readonly first: number;
  /** Of the merged model and its adapter beside it; absent where the merge rounds to few bits. */
  readonly merged?: number;
}

/** Sums that a merge rounds to floats. */
const FLOATS = { first: 1e-4, merged: 1e-3 };
/** Activations that inference rounds to 8 bits, and training does not; the merged model other ones. */
const ROUNDED = { first: 0.1, merged: 0.2 };
const FORMS: Readonly<Record<string, Tolerances>> = {
  floats: FLOATS,
  int4: { first: 1e-4 },
  nf4: { first: 1e-4 },
  fused: FLOATS,
  "fused-int8": ROUNDED,
  static: ROUNDED,
  "static-floats": ROUNDED,
  "static-qoperator": ROUNDED,
};
const OF_OPTIMIZER = ["fused", "fused-int8", "static", "static-floats", "static-qoperator"];

const folder = Deno.makeTempDirSync({ prefix: "graft-architectures-" });

const TEXTS = [
  ["what colour is the red lamp", "red"],
  ["my card", "is lost"],
  ["a b c d e f", "g h"],
  ["pay the bill", "now"],
] as const;
const DATA = {
  causal: TEXTS.map(([prompt, completion]) => ({ prompt, completion })),
  classification: TEXTS.map(([text], i) => ({ text, label: "xyz"[i % 3] })),
};

const graft = (...args: string[]) =>
  outputOf(Deno.execPath(), ["run", "-A", "--no-check", "src/cli/main.ts", ...args]);

const lossOf = async (data: string, ...model: string[]): Promise<number> =>
  JSON.parse(await graft("eval", ...model, "--data", data, "--json")).loss;

const isNear = (a: number, b: number, tolerance: number) =>
  Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b));

/** What does not hold of a model; nothing where all does. */
async function problemOf(
  exported: string,
  data: string,
  form: string,
  hasHead: boolean,
): Promise<string | undefined> {
  const model = form === "floats" ? exported : `${exported}-${form}`;
  const tolerances = FORMS[form];
  if (form === "int4") {
    await graft("quantize", exported, "--bits=4", "--min-elements=512", "--save-path", model);
  }
  const [adapter, merged] = [`${model}-adapter`, `${model}-merged`];
  await graft(
    ...["train", "--model", model, "--data", data, "--adapter-path", adapter, "--iters=3"],
    ...["--batch-size=4", "--no-shuffle", "--learning-rate=1e-2", "--target-modules=all-linear"],
    "--steps-per-report=1",
  );
  const [line] = Deno.readTextFileSync(`${adapter}/metrics.jsonl`).split("\n");
  const { loss: first } = JSON.parse(line);
  const base = hasHead ? await lossOf(data, model) : first;
  if (!isNear(first, base, tolerances.first)) {
    return `trains from ${first}, the model's loss is ${base}`;
  }
  const adapted = await lossOf(data, model, "--adapter-path", adapter);
  if (!(adapted < base)) return `a loss of ${base} becomes ${adapted}`;
  if (tolerances.merged === undefined) return undefined;
  await graft(
    ...["merge", "--model", model, "--adapter-path", adapter, "--save-path", merged],
    "--no-latency",
  );
  const kept = await lossOf(data, merged);
  if (isNear(kept, adapted, tolerances.merged)) return undefined;
  return `merged ${kept}, adapted ${adapted}`;
}

/** Lines of JSON that a script prints among others. */
async function objectsOf(script: string, ...args: string[]) {
  const printed = await outputOf(PYTHON, [`scripts/${script}.py`, ...args]);
  return printed.split("\n").filter((line) => line.startsWith('{"name"'))
    .map((line) => JSON.parse(line));
}

/** Writes forms of exported models beside them. */
async function quantized(
  models: string,
  forms: readonly string[],
  exported: readonly { readonly name: string }[],
) {
  const names = exported.map(({ name }) => name);
  return names.length === 0
    ? []
    : await objectsOf("quantize_exports", models, forms.join(), ...names);
}

let failed = false;
try {
  for (const [task, rows] of Object.entries(DATA)) {
    const lines = rows.map((row) => JSON.stringify(row) + "\n");
    Deno.writeTextFileSync(`${folder}/${task}.jsonl`, lines.join(""));
  }
  for (const exporter of EXPORTERS) {
    const models = `${folder}/${exporter}`;
    const exported = await objectsOf("export_architectures", models, exporter, ...Deno.args);
    const there = exported.filter(({ not_exported }) => not_exported === undefined);
    // What ONNX Runtime's optimiser knows is how the older exporter writes these.
    const known = there.filter(({ name, task, has_head }) =>
      exporter === "torchscript" && (task === "classification" && has_head || name === "GPT2")
    );
    const tried = [
      ...await quantized(models, ["nf4"], there),
      ...await quantized(models, OF_OPTIMIZER, known),
    ];
    for (const { name, form, not_made } of tried) {
      if (not_made !== undefined) console.log(JSON.stringify({ name, exporter, form, not_made }));
    }
    for (const { name, task, has_head, not_exported } of exported) {
      if (not_exported !== undefined) {
        console.log(JSON.stringify({ name, exporter, not_exported }));
        continue;
      }
      const [model, data] = [`${models}/${name}`, `${folder}/${task}.jsonl`];
      const made = tried.filter((one) => one.name === name && one.not_made === undefined);
      const forms = ["floats", "int4", ...made.map(({ form }) => form)];
      for (const form of forms) {
        const problem = await problemOf(model, data, form, has_head).catch(({ message }) =>
          message
        );
        if (problem !== undefined) failed = true;
        const found = problem === undefined ? { ok: true } : { problem };
        console.log(JSON.stringify({ name, exporter, form, ...found }));
      }
    }
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}
if (failed) Deno.exit(1);
