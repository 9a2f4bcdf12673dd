/** Checkpoints of a training, new and resumed. */
import { join } from "@std/path";
import { CheckpointDirectory } from "../../../../src/train/checkpoint_files.ts";
import {
  type ChildRun,
  type ChildSpec,
  childWords,
  digestOf,
  faultAfterKill,
  runChild,
} from "../../../../tests/helpers/kills.ts";
import { record } from "../record.ts";
import type { PowerCase } from "../replay.ts";

export interface CheckpointOptions {
  readonly steps: number;
  readonly saveEvery: number;
  /** Steps that were trained and saved before what is recorded. */
  readonly before?: number;
  /** States of which one is trained on to the end; 0 for none. */
  readonly resumeEvery?: number;
}

/** The newest checkpoint is whole, nothing that was reported as saved is lost, and it can be resumed. */
export function checkpointCase(
  name: string,
  { steps, saveEvery, before = 0, resumeEvery = 0 }: CheckpointOptions,
): PowerCase {
  const spec = (root: string, steps: number): ChildSpec => ({
    directory: join(root, "adapters/checkpoints"),
    backend: "host",
    steps,
    saveEvery,
  });
  let expected = "";
  let states = 0;
  return {
    name,
    async record(root) {
      if (before > 0) digestOf(await runChild(spec(root, before)));
      const recording = await record(root, childWords(spec(root, steps)));
      if (resumeEvery > 0) expected = digestOf(await runChild(spec(root, steps)));
      return recording;
    },
    async check(folder, said) {
      const run: ChildRun = { lines: said, stderr: "", code: 0, ms: 0 };
      const fault = faultAfterKill(run, spec(folder, steps)) ?? latestFault(folder);
      if (fault !== undefined || resumeEvery === 0 || states++ % resumeEvery !== 0) return fault;
      const resumed = digestOf(await runChild(spec(folder, steps)));
      return resumed === expected ? undefined : "a resume ends with other bytes";
    },
  };
}

/** `latest` names a checkpoint that is whole. */
function latestFault(folder: string): string | undefined {
  const path = join(folder, "adapters/checkpoints");
  let latest: string;
  try {
    latest = Deno.readTextFileSync(join(path, "latest")).trim();
  } catch {
    return undefined; // nothing is saved yet
  }
  const others = [...Deno.readDirSync(path)].filter(({ name, isDirectory }) =>
    isDirectory && name !== latest
  );
  for (const { name } of others) Deno.removeSync(join(path, name), { recursive: true });
  const warnings: string[] = [];
  const found = new CheckpointDirectory(path, { seed: 1 }).load((text) => warnings.push(text));
  return found === undefined ? `latest names ${latest}: ${warnings}` : undefined;
}
