import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { basename, join } from "@std/path";
import { EXIT } from "../../src/errors.ts";
import type { MergeMethod } from "../../src/lora/merge/mod.ts";
import { unfinishedPath } from "../../src/model/leftovers.ts";
import { exists } from "../../src/system/durable_files.ts";
import { modelDir, referenceDir } from "../helpers/fixture_models.ts";
import { graft, graftUnder, startGraftUnder } from "../helpers/graft.ts";
import { injectMergeFaults } from "../helpers/merge_faults.ts";
import { testWithTool } from "../helpers/requirements.ts";
import { SIGNALLING_STRACE } from "../helpers/strace_command.ts";
import { pairs } from "../helpers/training_runs.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const names = (path: string) => [...Deno.readDirSync(path)].map(({ name }) => name).sort();

// PROMISES 3, and Ctrl-C: a share of the points; scripts/campaigns/kill.ts goes through all of them.
testWithTool(
  "strace",
  "graft merge under disk errors, signals and kills leaves the older model, or all of the new one",
  async () => {
    const { injected, faults } = await injectMergeFaults(19);
    assertEquals(faults, []);
    assert(injected >= 8, `only ${injected} faults were injected`);
  },
);

/** The command line of a merge into `merged` of a folder. */
function mergeArgs(path: string, ...more: readonly string[]): string[] {
  return [
    ...["merge", "--model", modelDir("tiny-llama-genai-int4"), ...more],
    ...["--adapter-path", `${referenceDir("tiny-llama-int4.all")}/adapter_after_10_steps`],
    ...["--save-path", join(path, "merged"), "--threads=1"],
  ];
}

/** A merge that measures all ways, one after the other; each has its folder until the end. */
function measuredArgs(path: string): string[] {
  Deno.writeTextFileSync(join(path, "train.jsonl"), pairs(20));
  return mergeArgs(path, "--data", path);
}

/** Where a way of merging is written. */
const unfinished = (path: string, way: MergeMethod) => unfinishedPath(join(path, "merged"), way, 1);

/** Strace's log: beside the folder, whose contents are looked at. */
const logOf = (path: string) => `${path}.strace`;

/** A folder whose merges are watched by strace. */
const inTracedDir = (body: (path: string) => Promise<void>) =>
  inTempDir(async (path) => {
    try {
      await body(path);
    } finally {
      if (exists(logOf(path))) Deno.removeSync(logOf(path));
    }
  });

/** Sends a signal at the first such system call on the model file of an unfinished folder. */
function signalAt(path: string, way: MergeMethod, call: "write" | "fsync", signal: string) {
  const file = join(unfinished(path, way), "model.onnx");
  const log = logOf(path);
  const inject = ["-e", `trace=${call}`, "-e", `inject=${call}:signal=${signal}:when=1`];
  return { log, strace: [...SIGNALLING_STRACE, "-o", log, "-P", file, ...inject] };
}

/** A merge that stands still; one that is left so is ended. */
interface StoppedMerge extends Disposable {
  /** Lets it go on to its end. */
  finish(): Promise<{ readonly code: number; readonly stderr: string }>;
}

/** Starts a merge and returns once it has been stopped at a system call. */
async function stoppedAt(
  path: string,
  way: MergeMethod,
  call: "write" | "fsync",
  args: readonly string[],
): Promise<StoppedMerge> {
  const { log, strace: [strace, ...options] } = signalAt(path, way, call, "STOP");
  // With -D the child is the merge itself, not strace.
  const child = startGraftUnder([strace, "-D", ...options], ...args);
  let ended = false;
  void child.status.then(() => ended = true);
  const finish = async () => {
    const { code, stderr } = await child.output();
    return { code, stderr: new TextDecoder().decode(stderr) };
  };
  while (!exists(log) || !Deno.readTextFileSync(log).includes("stopped by SIGSTOP")) {
    if (ended) throw new Error((await finish()).stderr);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    finish() {
      child.kill("SIGCONT");
      return finish();
    },
    [Symbol.dispose]: () => void (ended || child.kill("SIGKILL")),
  };
}

testWithTool(
  "strace",
  "graft merge stopped by SIGTERM while it measures leaves nothing behind",
  () =>
    inTracedDir(async (path) => {
      // What was rounded to nearest has been measured by then, and its scales tuned.
      const { strace } = signalAt(path, "scales", "write", "TERM");
      const { code, stderr } = await graftUnder(strace, ...measuredArgs(path));
      assertEquals(code, EXIT.interrupted, stderr);
      assertStringIncludes(stderr, `nothing is written to ${path}/merged`);
      assertStringIncludes(stderr, "Stopped by SIGTERM");
      assertEquals(names(path), ["train.jsonl"]);
    }),
);

testWithTool(
  "strace",
  "graft merge clears what a killed one left, and nothing of one that runs",
  () =>
    inTracedDir(async (path) => {
      const { strace } = signalAt(path, "nearest", "write", "KILL");
      await graftUnder(strace, ...measuredArgs(path));
      const own = [basename(unfinished(path, "nearest")), "train.jsonl"];
      assertEquals(names(path), own);
      // Had the leftover stayed, the next one would have taken another name.
      using running = await stoppedAt(path, "nearest", "write", measuredArgs(path));
      assertEquals(names(path), own);
      const other = await graft(...measuredArgs(path));
      assertEquals(other.code, EXIT.ok, other.stderr);
      assertEquals(names(path), [own[0], "merged", "train.jsonl"]);
      const { code, stderr } = await running.finish();
      assertEquals(code, EXIT.usage, stderr); // it finds the other's model
      assertEquals(names(path), ["merged", "train.jsonl"]);
    }),
);

testWithTool(
  "strace",
  "graft merge does not replace a model that appeared while its own went to the disk",
  () =>
    inTracedDir(async (path) => {
      const args = mergeArgs(path, "--method", "nearest");
      using slow = await stoppedAt(path, "nearest", "fsync", args);
      const other = await graft(...args);
      assertEquals(other.code, EXIT.ok, other.stderr);
      const { ino } = Deno.statSync(join(path, "merged"));
      const { code, stderr } = await slow.finish();
      assertEquals(code, EXIT.usage, stderr);
      assertStringIncludes(stderr, "merged: it exists");
      assertEquals(Deno.statSync(join(path, "merged")).ino, ino);
      assertEquals(names(path), ["merged"]);
    }),
);

testWithTool(
  "strace",
  "graft quantize stopped by SIGINT leaves nothing behind",
  () =>
    inTempDir(async (path) => {
      const target = join(path, "quantized");
      const data = join(path, ".unfinished-model-quantized", "model.onnx.data");
      const { code, stderr } = await graftUnder(
        [
          ...[...SIGNALLING_STRACE, "-o", "/dev/null", "-P", data],
          ...["-e", "trace=write", "-e", "inject=write:signal=INT:when=1"],
        ],
        ...["quantize", modelDir("tiny-llama-genai-fp32"), "--save-path", target],
        ...["--min-elements", "1024"],
      );
      assertEquals(code, EXIT.interrupted, stderr);
      assertMatch(stderr, /nothing is written to .*quantized; again to stop at once/);
      assertEquals(names(path), []);
    }),
);
