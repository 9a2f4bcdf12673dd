/**
 * Trains, evaluates and merges tiny models of many architectures, as PyTorch's two exporters write them,
 * in floats and in 4 bits: `deno task campaign:architectures [NAME…]`.
 *
 * What must hold: the first loss of training is that of the inference graph, the adapter lowers it, and
 * the merged floats have the adapter's loss. Prints one JSON object a model and ends with 1 where
 * something does not. Takes `GRAFT_PYTHON`, else `.venv/bin/python`, with torch, transformers, onnx and
 * onnxscript.
 */
import { outputOf, PYTHON } from "./commands.ts";

const EXPORTERS = ["dynamo", "torchscript"];
/** How far losses of the same numbers may lie apart, relative from 1 on. */
const SAME = 1e-4;
/** The same of a merge, which rounds sums to floats. */
const MERGED = 1e-3;

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
  form: "floats" | "int4",
): Promise<string | undefined> {
  const model = form === "int4" ? `${exported}-int4` : exported;
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
  const base = await lossOf(data, model);
  if (!isNear(first, base, SAME)) return `trains from ${first}, the model's loss is ${base}`;
  const adapted = await lossOf(data, model, "--adapter-path", adapter);
  if (!(adapted < base)) return `a loss of ${base} becomes ${adapted}`;
  // A merge into 4 bits rounds.
  if (form === "int4") return undefined;
  await graft(
    ...["merge", "--model", model, "--adapter-path", adapter, "--save-path", merged],
    "--no-latency",
  );
  const kept = await lossOf(data, merged);
  return isNear(kept, adapted, MERGED) ? undefined : `merged ${kept}, adapted ${adapted}`;
}

let failed = false;
try {
  for (const [task, rows] of Object.entries(DATA)) {
    const lines = rows.map((row) => JSON.stringify(row) + "\n");
    Deno.writeTextFileSync(`${folder}/${task}.jsonl`, lines.join(""));
  }
  for (const exporter of EXPORTERS) {
    const script = "scripts/export_architectures.py";
    const exported = await outputOf(PYTHON, [
      script,
      `${folder}/${exporter}`,
      exporter,
      ...Deno.args,
    ]);
    for (const line of exported.split("\n").filter((line) => line.startsWith('{"name"'))) {
      const { name, task, not_exported } = JSON.parse(line);
      if (not_exported !== undefined) {
        console.log(JSON.stringify({ name, exporter, not_exported }));
        continue;
      }
      const [model, data] = [`${folder}/${exporter}/${name}`, `${folder}/${task}.jsonl`];
      for (const form of ["floats", "int4"] as const) {
        const problem = await problemOf(model, data, form).catch(({ message }) => message);
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
