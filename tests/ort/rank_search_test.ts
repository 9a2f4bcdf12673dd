import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { EXIT, ParameterError, RefusedError } from "../../src/errors.ts";
import { fineTune, resolveConfig } from "../../src/finetune/mod.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { rankSearch, type RankSearchEvent } from "../../src/tasks/rank_search.ts";
import type { RankSearchInput } from "../../src/tasks/rank_search/settings.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { graftHere, graftStoppedHere } from "../helpers/graft_here.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { pairs, requests, sha256 } from "../helpers/training_runs.ts";

/** A search of two ranks and of ranks by layer, over two seeds, to two steps. */
function tiny(folder: string, more: Partial<RankSearchInput> = {}): RankSearchInput {
  Deno.writeTextFileSync(join(folder, "train.csv"), requests(12));
  Deno.writeTextFileSync(join(folder, "valid.csv"), requests(6));
  return {
    model: modelDir("tiny-bert-dynamic-int8"),
    data: folder,
    targetModules: ["query", "value"],
    ranks: [2, 1],
    targetSets: ["query,value"],
    perLayer: true,
    seeds: 2,
    iters: 2,
    batchSize: 6,
    learningRate: 0.01,
    loadBest: false,
    threads: 1,
    savePath: join(folder, "search"),
    ...more,
  };
}

const files = (path: string) => [...Deno.readDirSync(path)].map(({ name }) => name).sort();

/** What the journal has, in its order. */
const journalOf = (savePath: string) =>
  Deno.readTextFileSync(join(savePath, "trials.jsonl")).trim().split("\n")
    .map((line) => JSON.parse(line))
    .map(({ name, seed, steps }) => `${name.replace(" on query,value", "")}: ${seed} to ${steps}`);

Deno.test("rankSearch(), killed and resumed, keeps the adapter that its recommended training gives", () =>
  inTempDir(async (folder) => {
    // Within a trial, before the search knows that it has ended.
    let [kills, trials] = [0, 0];
    const kill = (event: RankSearchEvent) => {
      if (event.kind === "trial ended" && !event.known) trials++;
      const within = event.kind === "training" && event.event.kind === "checkpoint";
      if (!within || trials !== [3, 7][kills]) return;
      kills++;
      throw new Error("killed");
    };
    const input = tiny(folder);
    const savePath = input.savePath!;
    const run = (resume: boolean) => rankSearch({ ...input, resume }, { onEvent: kill });
    await assertRejects(() => run(false), Error, "killed");
    const candidates = ["rank 1", "rank 2", "ranks by layer"];
    const first = candidates.flatMap((name) => [0, 1].map((seed) => `${name}: ${seed} to 1`));
    assertEquals(journalOf(savePath), first.slice(0, 3));
    await assertRejects(
      () => run(false),
      ParameterError,
      `${savePath} has an earlier search: resume: true goes on with it, overwrite: true drops it`,
    );
    await assertRejects(() => run(true), Error, "killed");
    const result = await run(true);
    assertEquals(kills, 2);
    const all = journalOf(savePath);
    assertEquals([all.slice(0, 6), new Set(all).size], [first, 10]);
    assert(all.slice(6).every((trial) => trial.endsWith(" to 2")));

    const { recommended, metric } = result;
    assertEquals([metric, result.totalSteps, result.complete], ["accuracy", 2, true]);
    assertEquals(
      result.candidates.map(({ name, values }) => [name, values.length]),
      candidates.map((name) => [`${name} on query,value`, 2]),
    );
    // As many parameters at the most, however they are spread.
    const [one, two, byLayer] = result.candidates.map(({ parameters }) => parameters);
    assertEquals([two, byLayer <= two && byLayer > 0], [2 * one, true]);
    assertMatch(recommended.reason, /(better|worse) by .* ± .* over 2 seeds/);
    const written = ["rank-search.svg", "recommended.yaml", "result.json", "search.yaml"];
    assertEquals(files(savePath), ["lock", ...written, "trials", "trials.jsonl"]);
    assertEquals(files(join(savePath, "trials")).length, 1);
    assert(!files(recommended.adapterPath).includes("checkpoints"));

    // Trained in parts, with the learning rate of the whole.
    const seed = Number(/seed-(\d)/.exec(recommended.adapterPath)![1]);
    const adapterPath = join(folder, "again");
    await fineTune({ ...recommended.config, seed, adapterPath });
    const bytes = (path: string) => sha256(join(path, "adapter_model.safetensors"));
    assertEquals(await bytes(adapterPath), await bytes(recommended.adapterPath));
    const { rank } = loadAdapter(adapterPath).adapter.config;
    assertEquals(rank, result.candidates.find(({ name }) => name === recommended.name)?.rank);
  }));

Deno.test("graft rank-search stops at a signal, says how to go on, and prints JSON", () =>
  inTempDir(async (folder) => {
    Deno.writeTextFileSync(join(folder, "train.jsonl"), pairs(8));
    const savePath = join(folder, "search");
    const args = [
      ...["rank-search", "-m", modelDir("tiny-llama-genai-int4"), "--data", folder],
      ...["--validation-split", "0.4", "--iters", "1", "--batch-size", "2", "--threads", "1"],
      ...["--ranks", "1,2,4,8", "--seeds", "2", "--target-sets", "q,v", "--layers", "1"],
      ...["--save-path", savePath],
    ];
    // 640 bytes are the rank 2 of q and v in this layer, and no more.
    const budget = ["--adapter-budget", "900"];
    const stopped = await graftStoppedHere(/^rank 1 on q,v, seed 0/, [...args, ...budget]);
    assertEquals(stopped.code, EXIT.interrupted);
    assertMatch(stopped.stderr, /To go on: graft rank-search --resume --save-path \S+search\n/);
    const { code, stdout, stderr } = await graftHere(
      ["rank-search", "--resume", "--save-path", savePath, "--json"],
    );
    assertEquals(code, EXIT.ok, stderr);
    assertMatch(stderr, /rank 1 on q,v, seed 0, to step 1: loss .* \(earlier\)/);
    const result = JSON.parse(stdout);
    assertEquals(result, JSON.parse(Deno.readTextFileSync(join(savePath, "result.json"))));
    assertEquals([result.metric, result.complete], ["loss", true]);
    const sizes = result.candidates.map(({ rank, size_bytes }: Record<string, number>) =>
      size_bytes / rank
    );
    assert(result.candidates.every(({ size_bytes }: { size_bytes: number }) => size_bytes <= 900));
    assertEquals(sizes.length, Math.floor(Math.log2(900 / sizes[0])) + 1);
    // The YAML trains it.
    const yaml = Deno.readTextFileSync(result.recommended.config_path);
    assertMatch(yaml, new RegExp(`^rank: ${result.recommended.config.rank}$`, "m"));
    assertEquals(resolveConfig({ model: "m", data: "d" }).adapterPath, "adapters");
    assert(!yaml.includes("adapter_path"));
  }));

Deno.test("rankSearch() refuses what it cannot search, before any training", () =>
  inTempDir(async (folder) => {
    const refused = async (more: Partial<RankSearchInput>, parameter: string, text: RegExp) => {
      const error = await assertRejects(() => rankSearch(tiny(folder, more)), ParameterError);
      assertMatch(error.message, text);
      assertEquals(error.parameter, parameter);
    };
    await refused({ ranks: [0] }, "ranks", /ranks must be whole numbers >= 1: current value is 0/);
    await refused({ ranks: [] }, "ranks", /current value is empty/);
    await refused({ seeds: 1 }, "seeds", /must be >= 2/);
    await refused({ timeBudget: "90" }, "timeBudget", /a time like 45s, 90m or 1.5h/);
    await refused(
      { adapterBudget: "9" },
      "adapterBudget",
      /must be >= \d+ bytes, the size of rank 1/,
    );
    await refused({ valBatches: 0 }, "valBatches", /must be >= 1, or -1/);
    await refused({ targetModules: ["qury"] }, "targetModules", /did you mean query/);
    await refused({ rank: 3 } as never, "rank", /Unknown parameter "rank"/);
    const error = await assertRejects(
      () => rankSearch(tiny(folder, { timeBudget: "0.001s" })),
      RefusedError,
    );
    assertMatch(error.message, /The time ended before a candidate was measured: resume: true/);
    const { code: small, stderr: why } = await graftHere([
      ...["rank-search", "-m", modelDir("tiny-bert-dynamic-int8"), "--data", folder],
      ...["--target-modules", "query", "--ranks", "1", "--iters", "2", "--memory-budget", "1M"],
      ...["--save-path", join(folder, "search"), "--overwrite"],
    ]);
    assertEquals(small, EXIT.refused);
    assertMatch(why, /No candidate can be trained: rank 1 on query: .*--memory-budget/);
    Deno.removeSync(join(folder, "valid.csv"));
    const single = { data: join(folder, "train.csv"), overwrite: true };
    await refused(single, "data", /nothing to validate on.*validationSplit: 0.1/);
    const flags = ["rank-search", "--save-path", join(folder, "none"), "--resume"];
    const { code, stderr } = await graftHere(flags);
    assertEquals(code, EXIT.usage);
    assertMatch(stderr, /Cannot resume: .*none has no search \(--save-path names/);
  }));
