/**
 * What the size of rotated blocks does to the gradient of `--numeric fast`: its cosine with that of
 * `exact`, and its relative error, over batches of e2e with SmolLM2-135M, by the largest block. Each
 * size runs in a copy of the sources that has it. A JSON line a size; 1 rotates nothing.
 *
 * usage: deno run -A scripts/figures/rotation.ts [SHARED] [SIZE…] (default: ../shared 1 8 16 32 64)
 */
import { resolve } from "@std/path";
import { besideFloats, compareGradients, gradientsInBoth } from "../../src/train/check_fast.ts";
import type { MicroBatches } from "../../src/train/micro_batches.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { run } from "./children.ts";
import { quietTraining, trainedCases } from "./trained_cases.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const SOURCE = "src/ops/internal/rotation.ts";
const LARGEST = /^const LARGEST_BLOCK = \d+;$/m;
const BATCHES = 4;

/** Of the sources that it runs from. */
async function compared(shared: string) {
  const [what] = trainedCases(shared);
  using setup = await quietTraining({ ...what, numeric: "fast" });
  const { model: step } = setup.model as MicroBatches;
  if (!(step instanceof PlannedModel)) throw new Error("Trains another way than by a plan");
  const batches = await Promise.all(
    Array.from({ length: BATCHES }, (_, i) => setup.data.batch(0, i)),
  );
  const { exact, fast } = await gradientsInBoth(step, besideFloats(step.arithmetic), batches);
  return compareGradients(exact, fast);
}

/** The same in a process of its own, from a copy with another largest block. */
async function comparedWith(block: number, shared: string): Promise<string> {
  const folder = Deno.makeTempDirSync({ prefix: "graft-rotation-" });
  try {
    const copied = ["src", "ffi", "scripts", "deno.json", "deno.lock"];
    await run("cp", ["-r", ...copied.map((name) => `${ROOT}${name}`), folder]);
    Deno.symlinkSync(`${ROOT}node_modules`, `${folder}/node_modules`);
    const source = Deno.readTextFileSync(`${folder}/${SOURCE}`);
    if (!LARGEST.test(source)) throw new Error(`${SOURCE} has no line ${LARGEST.source}`);
    Deno.writeTextFileSync(
      `${folder}/${SOURCE}`,
      source.replace(LARGEST, `const LARGEST_BLOCK = ${block};`),
    );
    const script = `${folder}/scripts/figures/rotation.ts`;
    return (await run(Deno.execPath(), ["run", "-A", "--no-check", script, "--here", shared]))
      .stdout.trim();
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

if (Deno.args[0] === "--here") {
  console.log(JSON.stringify(await compared(Deno.args[1])));
} else {
  const [shared = "../shared", ...sizes] = Deno.args;
  for (const block of sizes.length > 0 ? sizes.map(Number) : [1, 8, 16, 32, 64]) {
    console.log(
      JSON.stringify({ block, ...JSON.parse(await comparedWith(block, resolve(shared))) }),
    );
  }
}
