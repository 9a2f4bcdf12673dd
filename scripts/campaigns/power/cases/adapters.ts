/** What `graft train` leaves: an adapter, its configuration, checkpoints and kept activations. */
import { join } from "@std/path";
import { parseConfig } from "../../../../src/config/file.ts";
import { FINE_TUNE_PARAMETERS } from "../../../../src/finetune/parameters.ts";
import { CONFIG_FILE } from "../../../../src/finetune/saved_config.ts";
import { adapterDigest } from "../../../../src/hub/adapter_store.ts";
import { ADAPTER_FILES } from "../../../../src/lora/adapter_files.ts";
import { digestOf } from "../../../../src/lora/digest.ts";
import { loadAdapter, readAdapterFiles } from "../../../../src/model/adapter_dir.ts";
import { exists } from "../../../../src/system/durable_files.ts";
import { decodeCheckpoint } from "../../../../src/train/checkpoint.ts";
import { modelDir } from "../../../../tests/helpers/fixture_models.ts";
import { graft } from "../../../../tests/helpers/graft.ts";
import { pairs } from "../../../../tests/helpers/training_runs.ts";
import { treeOf, writeTree } from "../folder.ts";
import { graftWords, inTurn } from "../graft_words.ts";
import { record } from "../record.ts";
import type { PowerCase } from "../replay.ts";

const SAVED = /^Saved the adapter in /;
const CHECKPOINT = /^step (\d+): saved /;
/** Updates of the first run, and of the one that goes on. */
const STEPS = [6, 9] as const;

/**
 * A run of a few steps and a resume that trains on. Each adapter is the one before or the one after,
 * and the one that was reported once it was; no checkpoint is torn, and none that was reported is
 * lost; a resume ends with the bytes of the run.
 *
 * @param work folder for what is not recorded
 * @param resumeEvery states of which one is trained on to the end
 */
export function adapterCase(work: string, resumeEvery: number): PowerCase {
  const [data, first, resumed] = ["data", "first", "resumed"].map((name) => join(work, name));
  Deno.mkdirSync(data, { recursive: true });
  Deno.writeTextFileSync(join(data, "train.jsonl"), pairs(6));
  Deno.writeTextFileSync(join(data, "valid.jsonl"), pairs(2));
  const runArgs = (root: string, steps: number) => [
    ...["train", "--adapter-path", join(root, "runs/first"), `--iters=${steps}`],
    ...["--model", modelDir("tiny-llama-genai-int4"), "--data", data, "--threads=1"],
    ...["--num-layers=1", "--batch-size=3", "--lr-schedule=constant", "--rank=2"],
    ...["--save-every=2", "--steps-per-report=1", "--steps-per-eval=100", "--no-load-best"],
  ];
  const adapterIn = (root: string) => join(root, "runs/first");
  const digests: (string | undefined)[] = [undefined];
  const weights: string[] = [];
  let states = 0;
  return {
    name: "graft train",
    onDisk: true,
    async record(root) {
      const recording = await record(
        root,
        inTurn(
          graftWords(...runArgs(root, STEPS[0])),
          ["cp", "-r", adapterIn(root), first],
          graftWords(...runArgs(root, STEPS[1]), "--resume"),
        ),
      );
      digests.push(digestIn(first), digestIn(adapterIn(root)));
      weights.push(weightsIn(first), weightsIn(adapterIn(root)));
      return recording;
    },
    async check(folder, said) {
      const adapter = adapterIn(folder);
      const reports = said.filter((line) => SAVED.test(line)).length;
      const found = digestIn(adapter);
      const expected = digests.slice(reports, reports + 2);
      if (!expected.includes(found)) return `the adapter is ${found}, and not of ${expected}`;
      if (found !== undefined) loadAdapter(adapter);
      const config = join(adapter, CONFIG_FILE);
      if (exists(config)) parseConfig(Deno.readTextFileSync(config), FINE_TUNE_PARAMETERS, config);
      const steps = wholeCheckpoints(join(adapter, "checkpoints"));
      const newest = Math.max(0, ...steps);
      const reported = Math.max(0, ...said.map((line) => Number(CHECKPOINT.exec(line)?.[1] ?? 0)));
      if (newest < reported) return `saved ${reported}, found ${newest}`;
      if (newest > 0 && newest < STEPS[0] && !exists(join(adapter, "prefix-cache"))) {
        return "what frozen layers computed before the checkpoint is lost";
      }
      // At the end of the first run what was kept is removed: last bits may differ from there on.
      if (newest === 0 || newest === STEPS[0] || states++ % resumeEvery !== 0) return undefined;
      const run = newest < STEPS[0] ? 0 : 1;
      writeTree(resumed, treeOf(folder));
      const { code, stderr } = await graft(...runArgs(resumed, STEPS[run]), "--resume");
      if (code !== 0) return `a resume ends with ${code}: ${stderr}`;
      if (weightsIn(adapterIn(resumed)) === weights[run]) return undefined;
      return `a resume from step ${newest} ends with other bytes`;
    },
  };
}

/** Digest of an adapter's tensors: other files name the folder. */
const weightsIn = (folder: string) =>
  digestOf(readAdapterFiles(folder).get(ADAPTER_FILES.tensors)!);

/** Digest of the adapter in a folder, `undefined` where none was saved there. */
function digestIn(folder: string): string | undefined {
  const isThere = ["graft.json", "graft.json.new"].some((name) => exists(join(folder, name)));
  return isThere ? adapterDigest(readAdapterFiles(folder)) : undefined;
}

/**
 * Steps of the checkpoints in a folder.
 *
 * @throws {BadInputError} for one that is torn
 */
function wholeCheckpoints(folder: string): number[] {
  if (!exists(folder)) return [];
  return [...Deno.readDirSync(folder)].filter(({ name }) => name.startsWith("step-")).map(
    ({ name }) => {
      const path = join(folder, name);
      const files = [...Deno.readDirSync(path)].map((file): [string, Uint8Array] => [
        file.name,
        Deno.readFileSync(join(path, file.name)),
      ]);
      return decodeCheckpoint(new Map(files)).checkpoint.state.step;
    },
  );
}
