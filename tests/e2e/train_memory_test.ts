import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { processMemory, watchTree } from "../../src/system/memory.ts";
import { startTidyGraft } from "../helpers/graft.ts";
import { modelFolders } from "../helpers/model_folders.ts";
import { readMetrics } from "../helpers/training_runs.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const NAME = "smollm2-135m-instruct-int4";
/** Of SmolLM2's base: 134,515,008 parameters of 4 bytes. */
const FP32_BYTES = 134_515_008 * 4;
const SHARE = 0.9;

async function checkPeak(model: string, path: string): Promise<void> {
  const data = join(path, "texts.jsonl");
  const text = "The quick brown fox jumps over the lazy dog and goes home to a bowl of soup " +
    "with bread and butter beside the fire, where it sleeps until the morning comes again.";
  Deno.writeTextFileSync(data, `${JSON.stringify({ text })}\n`.repeat(4));
  const adapter = join(path, "adapter");
  const child = startTidyGraft(
    ...["train", "--model", model, "--data", data, "--adapter-path", adapter],
    ...["--iters=2", "--batch-size=1", "--max-seq-length=32", "--steps-per-report=1"],
  );
  // The kernel keeps the largest size of a process, the watch adds what its children have.
  using tree = watchTree(child.pid, 100);
  let highWater = 0;
  const timer = setInterval(() => {
    highWater = Math.max(highWater, processMemory(child.pid)?.peakRssBytes ?? 0);
  }, 100);
  const { code, stderr } = await child.output();
  clearInterval(timer);
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  assertEquals(readMetrics(adapter).filter(({ loss }) => loss !== undefined).length, 2);
  const peak = Math.max(highWater, tree.peakBytes);
  assert(highWater > 0 && peak < SHARE * FP32_BYTES, `peak of ${peak} bytes, fp32: ${FP32_BYTES}`);
}

const model = modelFolders().get(NAME);
const title = `graft train on 1×32 tokens peaks below ${SHARE} of the base in fp32, ${NAME}`;
// No fixture can be so large: where the model is missing there is no test to count as skipped.
if (model === undefined) console.log(`skipped: ${title}: the model is not on this machine`);
else Deno.test(title, () => inTempDir((path) => checkPeak(model, path)));
