/**
 * What weights packed for the kernels in a file would give `graft run`: time until a language model
 * is ready, its memory after a prompt, and how far its logits are from those of the model compiled as
 * graft does. A JSON line each, in processes of their own, alternately.
 *
 * On ONNX Runtime 1.30, which graft brings, the packed file of a model whose MatMulNBits nodes have
 * `accuracy_level` 4 gives other logits: that is why graft does not keep one. 1.32 gives the same.
 *
 * usage: deno run -A scripts/figures/prepacked.ts [--model DIR] [--ort-lib FILE] [--rounds 3]
 */
import { parseArgs } from "@std/cli/parse-args";
import { findModelFile } from "../../src/model/find_model.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { CausalModel } from "../../src/serve/causal_model.ts";
import { withChosenLogits } from "../../src/serve/last_logits.ts";

const flags = parseArgs(Deno.args, {
  string: ["model", "ort-lib", "child", "folder"],
  default: { model: "../shared/models/smollm2-135m-instruct-int4", rounds: 3 },
});
/** The same for both; any tokens do. */
const PROMPT = Array.from({ length: 128 }, (_, i) => (i * 7919) % 400 + 10);

interface Measured {
  readonly runtime: string;
  readonly readyMs: number;
  readonly ownMb: number;
  readonly fileMb: number;
  readonly logits: readonly number[];
}

/** One process's part: `pack` writes the file, `plain` and `packed` are measured. */
async function child(what: string, folder: string): Promise<void> {
  using runner = createOrtRunner({ threads: 1, ortLib: flags["ort-lib"] });
  using loaded = loadOnnx(findModelFile(flags.model));
  const model = withChosenLogits(loaded.model);
  const packed = `${folder}/model.onnx`;
  const begin = performance.now();
  using executable = what === "packed"
    ? await runner.load(packed)
    : await runner.compile(model, what === "pack" ? { optimizedPath: packed } : {});
  const readyMs = performance.now() - begin;
  using causal = new CausalModel(runner, executable, model.graph);
  const logits = Array.from(await causal.advance(PROMPT));
  const status = Deno.readTextFileSync("/proc/self/status");
  const mb = (field: string) => Number(new RegExp(`${field}:\\s*(\\d+)`).exec(status)?.[1]) / 1000;
  const measured: Measured = {
    runtime: runner.description,
    readyMs,
    ownMb: mb("RssAnon"),
    fileMb: mb("RssFile"),
    logits,
  };
  console.log(JSON.stringify(measured));
}

function start(what: string, folder: string): Measured {
  const args = ["--child", what, "--folder", folder, "--model", flags.model];
  if (flags["ort-lib"] !== undefined) args.push("--ort-lib", flags["ort-lib"]);
  const { stdout, success } = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", new URL(import.meta.url).pathname, ...args],
    stderr: "inherit",
  }).outputSync();
  if (!success) throw new Error(`The process for "${what}" failed`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

function compare(): void {
  const folder = Deno.makeTempDirSync();
  try {
    start("pack", folder);
    const diskMb = Deno.statSync(`${folder}/weights.bin`).size / 1e6;
    for (let round = 0; round < Number(flags.rounds); round++) {
      const { logits: expected, ...plain } = start("plain", folder);
      const { logits, ...packed } = start("packed", folder);
      const off = logits.map((value, i) => Math.abs(value - expected[i]));
      // A logit that is no number is as far off as can be.
      const largest = off.reduce((most, value) => value <= most ? most : value, 0);
      console.log(JSON.stringify({ plain, packed, diskMb, logitsOffBy: String(largest) }));
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

if (flags.child === undefined) compare();
else await child(flags.child, flags.folder!);
