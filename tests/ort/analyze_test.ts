import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { BadInputError, EXIT, ParameterError } from "../../src/errors.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { loadAdapter, saveAdapter } from "../../src/model/adapter_dir.ts";
import { analyze, type AnalyzeEvent } from "../../src/tasks/analyze.ts";
import { saveRandomAdapter } from "../helpers/adapter_folder.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { graftHere } from "../helpers/graft_here.ts";
import { pngSize } from "../helpers/png_pixels.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const NAME = "tiny-llama-genai-int4";
const model = modelDir(NAME);

Deno.test("graft analyze prints ranks, directions and drift of each adapted matrix", () =>
  inTempDir(async (folder) => {
    saveRandomAdapter(`${folder}/lamp`, NAME, { seed: 1 });
    const { code, stdout, stderr } = await graftHere([
      ...["analyze", "--model", model, "--adapter-path", `${folder}/lamp`, "--layers", "1"],
    ]);
    assertEquals([code, stderr], [EXIT.ok, ""]);
    const lines = stdout.split("\n");
    assertEquals(lines[0], `${folder}/lamp:`);
    assertMatch(lines[1], /^matrix +size +rank W +ΔW +W' +‖W‖ +‖ΔW‖ +drift .* amplified$/);
    assertMatch(lines[2], /^model\.layers\.1\.self_attn\.q_proj +\d+×\d+ +\d+ +4 +\d+ /);
    assertMatch(lines[3], /^model\.layers\.1\.self_attn\.v_proj /);
    assertMatch(lines[5], /^layer +‖ΔW‖\/‖W‖ of /);
    assertMatch(lines[6], /^ +1 +[\d.]+%$/);
    assert(!stdout.includes("Both adapters"));
  }));

Deno.test("graft analyze --json has all figures of two adapters, and the same ones again", () =>
  inTempDir(async (folder) => {
    saveRandomAdapter(`${folder}/lamp`, NAME, { seed: 1 });
    saveRandomAdapter(`${folder}/mill`, NAME, {
      seed: 2,
      rank: 2,
      targetModules: ["q_proj", "up_proj"],
    });
    const args = [
      ...["analyze", "--model", model, "--adapter-path", `${folder}/lamp,${folder}/mill`, "--json"],
    ];
    const { stdout } = await graftHere(args);
    const report = JSON.parse(stdout);
    assertEquals(report.adapters.map(({ rank }: { rank: number }) => rank), [4, 2]);
    const at = (name: string) =>
      report.matrices.find(({ path }: { path: string }) => path === `model.layers.0.${name}`);
    const shared = at("self_attn.q_proj");
    assertEquals([shared.pair.inputs.length, shared.pair.inputs[0].length], [4, 2]);
    assert(Math.abs(shared.pair.cosine) < 0.5);
    assertEquals(shared.updates.map((of: { spectrum: { rank: number } }) => of.spectrum.rank), [
      4,
      2,
    ]);
    assertEquals(shared.spectrum.singular_values.length, Math.min(shared.rows, shared.cols));
    assertEquals([at("mlp.up_proj").updates[0], at("mlp.up_proj").pair], [null, null]);
    assertEquals(report.layers.length, 2);
    assertEquals((await graftHere(args)).stdout, stdout);
    const { stdout: quick } = await graftHere([...args, "--no-spectra", "--target-modules", "up"]);
    const [first, ...others] = JSON.parse(quick).matrices;
    assertEquals([first.spectrum, first.updates[1].merged, others.length], [null, null, 1]);
    const { stdout: table } = await graftHere(args.slice(0, -1));
    assertStringIncludes(table, "Both adapters:");
    assertMatch(table, /sign conflicts +φ inputs +φ outputs +‖ΔW₁\+ΔW₂‖/);
  }));

Deno.test("graft analyze --report writes one page, its pictures and the figures, and replaces older ones", () =>
  inTempDir(async (folder) => {
    saveRandomAdapter(`${folder}/lamp`, NAME, { seed: 1 });
    saveRandomAdapter(`${folder}/mill`, NAME, { seed: 2, rank: 2 });
    const report = `${folder}/made/report`;
    const args = [
      ...["analyze", "--model", model, "--adapter-path", `${folder}/lamp,${folder}/mill`],
      ...["--report", report, "--layers", "1", "--target-modules", "q"],
    ];
    const saved = `Saved the report in ${report}/report.html; its pictures beside it: 6\n`;
    for (let i = 0; i < 2; i++) {
      const { code, stderr } = await graftHere(args);
      assertEquals([code, stderr], [EXIT.ok, saved]);
    }
    const path = "model.layers.1.self_attn.q_proj";
    const pictures = [
      ...["drift-by-layer", "similarity-inputs", "similarity-outputs", `singular-values-${path}`],
      ...[`similarity-inputs-${path}`, `similarity-outputs-${path}`],
    ];
    assertEquals(
      [...Deno.readDirSync(report)].map(({ name }) => name).sort(),
      ["report.html", "report.json", ...pictures.flatMap((of) => [`${of}.png`, `${of}.svg`])]
        .sort(),
    );
    for (const name of pictures) {
      const svg = Deno.readTextFileSync(`${report}/${name}.svg`);
      const [width, height] = pngSize(Deno.readFileSync(`${report}/${name}.png`));
      assertStringIncludes(svg, `width="${width / 3}" height="${height / 3}"`);
    }
    const page = Deno.readTextFileSync(`${report}/report.html`);
    assertMatch(page, /^<!doctype html>/);
    assertStringIncludes(page, "Mean similarity of the inputs");
    const { stdout } = await graftHere([...args.slice(0, 5), ...args.slice(7), "--json"]);
    assertEquals(Deno.readTextFileSync(`${report}/report.json`), stdout);
    // What it was to be written into is a file.
    const { code, stderr } = await graftHere([...args, "--report", `${report}/report.json`]);
    assertEquals(code, EXIT.io);
    assertStringIncludes(stderr, `${report}/report.json`);
  }));

Deno.test("graft analyze shows drift over the checkpoints that a training left", () =>
  inTempDir(async (folder) => {
    Deno.writeTextFileSync(
      `${folder}/data.jsonl`,
      Array.from({ length: 8 }, (_, i) => JSON.stringify({ text: `lamp ${i} is on` })).join("\n"),
    );
    const adapterPath = `${folder}/lamp`;
    const trained = await graftHere([
      ...[
        "train",
        "--model",
        model,
        "--data",
        `${folder}/data.jsonl`,
        "--adapter-path",
        adapterPath,
      ],
      ...["--iters", "4", "--save-every", "2", "--batch-size", "2", "--learning-rate", "1e-2"],
    ]);
    assertEquals(trained.code, EXIT.ok, trained.stderr);
    const { adapters: [{ steps }], matrices, layers } = await analyze({
      model,
      adapterPath: [adapterPath],
    });
    assertEquals(steps.map(({ step }) => step), [2, 4]);
    assert(steps[0].drift > 0 && steps[1].drift > steps[0].drift);
    // The last checkpoint is what was saved.
    const whole = Math.hypot(...matrices.map(({ norm }) => norm));
    const changed = Math.hypot(...matrices.map(({ updates: [update] }) => update!.norm));
    assert(Math.abs(steps[1].drift - changed / whole) < 1e-9);
    assertEquals(steps[1].layers.length, 2);
    layers.forEach(({ drift: [drift] }, i) => assert(Math.abs(steps[1].layers[i] - drift) < 1e-9));
    // A checkpoint that is not whole is left out.
    Deno.removeSync(`${adapterPath}/checkpoints/step-000002/manifest.json`);
    const again = await analyze({ model, adapterPath: [adapterPath], spectra: false });
    assertEquals(again.adapters[0].steps.map(({ step }) => step), [4]);
  }));

Deno.test("analyze() reports each matrix, can be stopped, and notes what it leaves out", () =>
  inTempDir(async (folder) => {
    saveRandomAdapter(`${folder}/lamp`, NAME, { seed: 1 });
    const { adapter } = loadAdapter(`${folder}/lamp`);
    const head = { weight: float32([2, 3], [1, 2, 3, 4, 5, 6]), bias: float32([2], [0, 0]) };
    saveAdapter(`${folder}/head`, { ...adapter, card: adapter.card!, head });
    const events: AnalyzeEvent[] = [];
    const adapterPath = [`${folder}/head`];
    await analyze({ model, adapterPath }, { onEvent: (event) => events.push(event) });
    assertEquals(events[0].kind, "adapter note");
    assertEquals(events.at(-1), {
      kind: "matrix",
      path: "model.layers.1.self_attn.v_proj",
      done: 4,
      total: 4,
    });
    const controller = new AbortController();
    await assertRejects(
      () =>
        analyze({ model, adapterPath }, {
          signal: controller.signal,
          onEvent: (event) => event.kind === "matrix" && controller.abort(new Error("enough")),
        }),
      Error,
      "enough",
    );
  }));

Deno.test("analyze() refuses what it cannot analyse, and says why", () =>
  inTempDir(async (folder) => {
    const at = (name: string) => `${folder}/${name}`;
    saveRandomAdapter(at("a"), NAME, { seed: 1 });
    saveRandomAdapter(at("other"), "tiny-llama-genai-fp32", { seed: 3 });
    const { adapter } = loadAdapter(at("a"));
    const card = adapter.card!;
    saveAdapter(at("scales"), {
      ...adapter,
      card,
      config: { ...adapter.config, adapterType: "scales" },
    });
    const [path, { b }] = [...adapter.lora][0];
    saveAdapter(at("narrow"), {
      ...adapter,
      card,
      lora: new Map([[path, { a: float32([4, 3], new Float32Array(12)), b }]]),
    });
    const refused = async (
      names: string,
      // deno-lint-ignore no-explicit-any -- constructors of errors take any arguments
      error: new (...args: any[]) => Error,
      says: string,
      more: object = {},
    ) =>
      void await assertRejects(
        () => analyze({ model, adapterPath: names.split(",").map(at), ...more }),
        error,
        says,
      );
    await refused("a,a,a", ParameterError, "current number is 3");
    await refused("other", BadInputError, "another base");
    await refused("scales", BadInputError, "adapter of scales");
    await refused("narrow", BadInputError, "do not fit the base's");
    await refused("missing", BadInputError, "there is no adapter here");
    await refused("a", ParameterError, 'current value is "7"', { layers: "7" });
    await refused("a", ParameterError, "down", { targetModules: ["down"] });
    const { code, stderr } = await graftHere([
      ...["analyze", "--model", model, "--adapter-path", at("a"), "--layers", "7"],
    ]);
    assertEquals(code, EXIT.usage);
    assertStringIncludes(stderr, "--layers must be of adapted layers");
  }));
