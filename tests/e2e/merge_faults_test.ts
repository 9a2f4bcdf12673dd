import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { EXIT } from "../../src/errors.ts";
import { modelDir, referenceDir } from "../helpers/fixture_models.ts";
import { graftUnder, startGraft } from "../helpers/graft.ts";
import { injectMergeFaults } from "../helpers/merge_faults.ts";
import { testWithTool } from "../helpers/requirements.ts";
import { inTempDir, pairs } from "../helpers/training_runs.ts";

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

/** Starts a merge that measures, and waits until it is writing. */
async function startMerge(path: string): Promise<Deno.ChildProcess> {
  Deno.writeTextFileSync(join(path, "train.jsonl"), pairs(20));
  const child = startGraft(
    ...["merge", "--model", modelDir("tiny-llama-genai-int4"), "--data", path],
    ...["--adapter-path", `${referenceDir("tiny-llama-int4.all")}/adapter_after_10_steps`],
    ...["--save-path", join(path, "merged")],
  );
  const until = Date.now() + 60_000;
  while (!names(path).some((name) => name.startsWith(".unfinished-model-merged"))) {
    assert(Date.now() < until, "the merge writes nothing");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return child;
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`graft merge stopped by ${signal} while it measures leaves nothing behind`, () =>
    inTempDir(async (path) => {
      const child = await startMerge(path);
      child.kill(signal);
      const { code, stderr } = await child.output();
      const said = new TextDecoder().decode(stderr);
      assertEquals(code, EXIT.interrupted, said);
      assertStringIncludes(said, `nothing is written to ${path}/merged`);
      assertStringIncludes(said, `Stopped by ${signal}`);
      assertEquals(names(path), ["train.jsonl"]);
    }));
}

Deno.test("graft merge clears what a killed one left, and nothing of one that runs", () =>
  inTempDir(async (path) => {
    const killed = await startMerge(path);
    killed.kill("SIGKILL");
    await killed.output();
    const left = names(path);
    assertEquals(left.length, 2, `${left}`);
    const running = await startMerge(path);
    const other = await startMerge(path);
    const codes = [await running.output(), await other.output()].map(({ code }) => code);
    // The one that ends last finds the other's model.
    assertEquals(codes.sort(), [EXIT.ok, EXIT.usage]);
    assertEquals(names(path), ["merged", "train.jsonl"]);
  }));

testWithTool(
  "strace",
  "graft quantize stopped by SIGINT leaves nothing behind",
  () =>
    inTempDir(async (path) => {
      const target = join(path, "quantized");
      const data = join(path, ".unfinished-model-quantized", "model.onnx.data");
      const { code, stderr } = await graftUnder(
        [
          ...["strace", "-f", "-o", "/dev/null", "-P", data],
          "-e",
          "inject=write:signal=INT:when=1",
        ],
        ...["quantize", modelDir("tiny-llama-genai-fp32"), "--save-path", target],
        ...["--min-elements", "1024"],
      );
      assertEquals(code, EXIT.interrupted, stderr);
      assertMatch(stderr, /nothing is written to .*quantized; again to stop at once/);
      assertEquals(names(path), []);
    }),
);
