import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { StorageError, UsageError } from "../../src/errors.ts";
import { float32 } from "../../src/graph/tensor.ts";
import type { Checkpoint } from "../../src/train/checkpoint.ts";
import { CheckpointDirectory, hasCheckpoints } from "../../src/train/checkpoint_files.ts";
import { initialState } from "../../src/train/state.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

function checkpointAt(step: number): Checkpoint {
  const tensors = new Map([["w", float32([2], [step, step + 1])]]);
  return {
    state: { ...initialState(0), step },
    parameters: tensors,
    optimizer: { updates: step, moments: tensors },
  };
}

const noWarning = (message: string) => {
  throw new Error(`unexpected warning: ${message}`);
};

const names = (path: string) => [...Deno.readDirSync(path)].map(({ name }) => name).sort();

Deno.test("CheckpointDirectory keeps the newest checkpoints and points latest at the last", () =>
  inTempDir((path) => {
    const directory = new CheckpointDirectory(path, { seed: 1 }, 2);
    assert(!hasCheckpoints(path));
    for (const step of [10, 20, 30]) {
      assertEquals(directory.save(checkpointAt(step)), join(path, `step-0000${step}`));
    }
    assertEquals(names(path), ["latest", "step-000020", "step-000030"]);
    assert(hasCheckpoints(path));
    assertEquals(Deno.readTextFileSync(join(path, "latest")), "step-000030\n");
    const found = directory.load(noWarning);
    assertEquals(found!.checkpoint.state.step, 30);
    directory.clear();
    assert(!hasCheckpoints(path));
    assertEquals(directory.load(noWarning), undefined);
  }));

Deno.test("CheckpointDirectory.load() ignores a torn checkpoint with a warning and takes the one before", () =>
  inTempDir((path) => {
    const directory = new CheckpointDirectory(path, { seed: 1 });
    directory.save(checkpointAt(10));
    const torn = directory.save(checkpointAt(20));
    Deno.truncateSync(join(torn, "adapter_model.safetensors"), 20);
    const warnings: string[] = [];
    const found = directory.load((message) => warnings.push(message));
    assertEquals(found!.path, join(path, "step-000010"));
    assertEquals(warnings.length, 1);
    assert(warnings[0].includes(torn) && warnings[0].includes("adapter_model.safetensors"));
    // The torn one is replaced when the run comes to its step again.
    directory.save(checkpointAt(20));
    assertEquals(directory.load(noWarning)!.checkpoint.state.step, 20);
  }));

Deno.test("CheckpointDirectory clears what a killed run left unfinished", () =>
  inTempDir((path) => {
    Deno.mkdirSync(join(path, ".unfinished-step-000010"));
    Deno.writeTextFileSync(join(path, ".unfinished-latest"), "x");
    new CheckpointDirectory(path, { seed: 1 });
    assertEquals(names(path), []);
  }));

Deno.test("CheckpointDirectory.load() refuses a run with other settings, naming them", () =>
  inTempDir((path) => {
    new CheckpointDirectory(path, { seed: 1, batch_size: 4 }).save(checkpointAt(10));
    const other = new CheckpointDirectory(path, { seed: 1, batch_size: 8 });
    assertThrows(
      () => other.load(noWarning),
      UsageError,
      "batch_size was 4: current value is 8",
    );
  }));

Deno.test("CheckpointDirectory names the path where nothing can be written", () => {
  const path = "/proc/graft-checkpoints";
  const error = assertThrows(() => new CheckpointDirectory(path, {}), StorageError, path);
  assertEquals((error as StorageError).exitCode, 74);
});
