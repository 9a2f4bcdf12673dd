import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { graft, graftSignalled, graftStopped, graftUnder } from "../helpers/graft.ts";
import { testWithTool } from "../helpers/requirements.ts";
import { STRACE } from "../helpers/strace_command.ts";
import { pairs, readMetrics, requests, sha256 } from "../helpers/training_runs.ts";
import { inTime } from "../helpers/in_time.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

/** Seven epochs of five steps over a model whose first layer is frozen. */
function argsOf(path: string): string[] {
  Deno.writeTextFileSync(join(path, "train.jsonl"), pairs(15));
  Deno.writeTextFileSync(join(path, "valid.jsonl"), pairs(4));
  return [
    "train",
    ...["--model", modelDir("tiny-llama-genai-int4"), "--data", path, "--threads=1"],
    ...["--num-layers=1", "--epochs=7", "--batch-size=3", "--learning-rate=1e-2"],
    ...["--save-every=3", "--steps-per-report=1", "--steps-per-eval=30", "--no-load-best"],
  ];
}

const weights = (adapter: string) => sha256(join(adapter, "adapter_model.safetensors"));
const cacheOf = (adapter: string) => join(adapter, "prefix-cache");

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

const lossesOf = (adapter: string) =>
  readMetrics(adapter).map(({ loss, val_loss }) => loss ?? val_loss!);

/** What a run with a prefix cache that nothing disturbs gives. */
interface StraightRun {
  readonly stderr: string;
  readonly leavesCache: boolean;
  readonly losses: readonly number[];
  readonly weights: string;
}

let straightRun: Promise<StraightRun> | undefined;

/** One run, with which several tests compare theirs. */
function straight(): Promise<StraightRun> {
  return straightRun ??= inTempDir(async (path) => {
    const adapter = join(path, "adapter");
    const { code, stderr } = await graft(...argsOf(path), "--adapter-path", adapter);
    assertEquals(code, 0, stderr);
    return {
      stderr,
      leavesCache: exists(cacheOf(adapter)),
      losses: lossesOf(adapter),
      weights: await weights(adapter),
    };
  });
}

/** The largest difference of a run's losses from those of the straight one, by the smaller. */
async function lossDistance(adapter: string): Promise<number> {
  const [a, b] = [lossesOf(adapter), (await straight()).losses];
  assertEquals(a.length, b.length);
  return Math.max(...a.map((loss, i) => Math.abs(loss - b[i]) / Math.min(loss, b[i])));
}

Deno.test("graft train with a prefix cache has the losses of a run without, and leaves no file", () =>
  inTempDir(async (path) => {
    const { stderr, leavesCache } = await straight();
    assertMatch(stderr, /Frozen layers below the adapter run once a sequence: .*prefix-cache/);
    assert(!leavesCache);
    const computed = join(path, "computed");
    const without = await graft(...argsOf(path), "--adapter-path", computed, "--prefix-cache=0");
    assertEquals(without.code, 0, without.stderr);
    assert(!/Frozen layers/.test(without.stderr), without.stderr);
    const distance = await lossDistance(computed);
    assert(distance <= 1e-5, `losses differ by ${distance}`);
  }));

Deno.test("graft train with a prefix cache, killed and interrupted and resumed, ends with the bytes of a straight run", () =>
  inTime(() =>
    inTempDir(async (path) => {
      const broken = join(path, "broken");
      const run = [...argsOf(path), "--adapter-path", broken];
      const stops: [when: RegExp, signal: Deno.Signal][] = [
        [/step 4\//, "SIGKILL"], // in the first epoch, after a checkpoint
        [/step 8\//, "SIGINT"],
      ];
      for (const [i, [when, signal]] of stops.entries()) {
        const stopped = await graftSignalled(
          when,
          signal,
          ...run,
          ...(i === 0 ? [] : ["--resume"]),
        );
        assert(stopped.code !== 0, stopped.stderr);
        assert(exists(cacheOf(broken)));
      }
      const last = await graft(...run, "--resume");
      assertEquals(last.code, 0, last.stderr);
      assertMatch(last.stderr, /; 15 sequences are there/);
      assertEquals(await weights(broken), (await straight()).weights);
      assert(!exists(cacheOf(broken)));
    })
  ));

Deno.test("graft train finds its prefix cache when it resumes over an int8 encoder", () =>
  inTime(() =>
    inTempDir(async (path) => {
      Deno.writeTextFileSync(join(path, "train.csv"), requests(15));
      const adapter = join(path, "adapter");
      const args = [
        "train",
        ...["--model", modelDir("tiny-bert-dynamic-int8"), "--data", path, "--threads=1"],
        ...["--num-layers=1", "--target-modules=query", "--epochs=7", "--batch-size=3"],
        ...["--save-every=3", "--steps-per-report=1", "--adapter-path", adapter],
      ];
      const stopped = await graftStopped(/step 8\//, ...args);
      assertEquals(stopped.code, 130, stopped.stderr);
      const last = await graft(...args, "--resume");
      assertEquals(last.code, 0, last.stderr);
      assertMatch(last.stderr, /; 15 sequences are there/);
    })
  ));

Deno.test("graft train goes on without what is damaged in its prefix cache", () =>
  inTime(() =>
    inTempDir(async (path) => {
      const damaged = join(path, "damaged");
      const run = [...argsOf(path), "--adapter-path", damaged];
      const stopped = await graftStopped(/step 7\//, ...run);
      assertEquals(stopped.code, 130, stopped.stderr);
      const bytes = Deno.readFileSync(cacheOf(damaged));
      for (let at = 200; at < bytes.length; at += 500) bytes[at] ^= 0x10;
      Deno.writeFileSync(cacheOf(damaged), bytes);
      const last = await graft(...run, "--resume");
      assertEquals(last.code, 0, last.stderr);
      const distance = await lossDistance(damaged);
      assert(distance <= 1e-5, `losses differ by ${distance}`);
    })
  ));

Deno.test("graft train keeps to the size of its prefix cache", () =>
  inTime(() =>
    inTempDir(async (path) => {
      const some = join(path, "some");
      const run = [...argsOf(path), "--adapter-path", some, "--prefix-cache=20k"];
      const stopped = await graftStopped(/step 12\//, ...run);
      assertEquals(stopped.code, 130, stopped.stderr);
      const { size } = Deno.statSync(cacheOf(some));
      assert(size > 10_000 && size <= 20_000, `${size} bytes`);
      assertEquals(stopped.stderr.match(/prefix-cache is full at \d+ kB/g)?.length, 1);
      const last = await graft(...run, "--resume");
      assertEquals(last.code, 0, last.stderr);
      const distance = await lossDistance(some);
      assert(distance <= 1e-5, `losses differ by ${distance}`);
      const wrong = await graft(...run, "--resume", "--prefix-cache=much");
      assertEquals(wrong.code, 2, wrong.stderr);
    })
  ));

testWithTool(
  "strace",
  "graft train goes on without a prefix cache when the disk is full",
  () =>
    inTempDir(async (path) => {
      const full = join(path, "full");
      const faulty = [
        ...[...STRACE, "-qq", "-o", `${path}/strace.log`, "-P", cacheOf(full)],
        ...["-e", "trace=write", "-e", "inject=write:error=ENOSPC:when=9+"],
      ];
      const run = await graftUnder(faulty, ...argsOf(path), "--adapter-path", full);
      assertEquals(run.code, 0, run.stderr);
      assertMatch(Deno.readTextFileSync(`${path}/strace.log`), /INJECTED/);
      assertEquals(
        run.stderr.match(/Nothing is kept of the frozen layers.*No space left/g)?.length,
        1,
      );
      assert(!exists(cacheOf(full)));
      const distance = await lossDistance(full);
      assert(distance <= 1e-5, `losses differ by ${distance}`);
    }),
);
