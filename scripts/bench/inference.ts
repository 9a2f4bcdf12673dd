/** B6 and B7: a merged language model beside its base, and beside onnxruntime-genai. */
import { exists } from "../../src/system/durable_files.ts";
import { graft, run } from "../figures/children.ts";
import { workload } from "../figures/workloads.ts";
import { memoryBandwidth } from "./bandwidth.ts";
import { type Context, missing, ROOT } from "./context.ts";
import { mergeGraft } from "./graft_side.ts";
import { atLeast, atMost, type Report } from "./results.ts";

/** A model of which `graft bench decode` prints the figures. */
interface Decoded {
  readonly size_mb: number;
  readonly prefill_ms: number;
  readonly decode_tokens_per_s: number;
}

/** Prompt and answer of both workloads, in tokens. */
const TOKENS = 128;

/** The int4 language model with a briefly trained adapter merged into it. */
async function mergedModel(context: Context): Promise<{ base: string; merged: string }> {
  const { model, graft: args } = workload(context.shared, "e2e.qv", context.data);
  const merged = `${context.folder}/smollm2-merged`;
  if (exists(merged)) return { base: model, merged };
  const adapter = `${context.folder}/smollm2-brief`;
  const epochs = args.indexOf("--epochs");
  await graft(
    ...["train", ...args.slice(0, epochs), ...args.slice(epochs + 2), "--iters", "4"],
    ...["--adapter-path", adapter, "--overwrite"],
  );
  await mergeGraft(model, adapter, merged);
  return { base: model, merged };
}

/** B6: what merging costs at inference, which is to be nothing. */
export async function* mergedAgainstBase(context: Context): AsyncGenerator<Report> {
  const { base, merged } = await mergedModel(context);
  const { stdout } = await graft(
    ...["bench", "decode", "--json", "--model", merged, "--against", base],
    ...["--prompt-tokens", String(TOKENS), "--tokens", String(TOKENS)],
    ...["--rounds", String(2 * context.rounds + 1)],
  );
  const { models, prefill_ratio, decode_ratio } = JSON.parse(stdout);
  const [ours, theirs]: readonly Decoded[] = models;
  yield {
    workload: "B6",
    about: `SmolLM2-135M int4 merged against its base, prefill ${TOKENS}, decode ${TOKENS}`,
    measured_at: new Date().toISOString(),
    rounds: 2 * context.rounds + 1,
    peers: [],
    goals: [
      atMost("prefill time, times the base", prefill_ratio, 1.01),
      atMost("decode time, times the base", decode_ratio, 1.01),
      atMost("file size, times the base", ours.size_mb / theirs.size_mb, 1.001),
    ],
    tables: [{
      title: "Medians",
      rows: [["merged", ours] as const, ["base", theirs] as const].map(([name, figures]) => ({
        model: name,
        "file MB": figures.size_mb,
        [`prefill ${TOKENS} ms`]: figures.prefill_ms,
        "decode tok/s": figures.decode_tokens_per_s,
      })),
    }],
    notes: [],
  };
}

/** What `scripts/figures/inference.ts` says of a figure: both of graft's runtimes and the peer's. */
type Compared = Readonly<Record<string, number>>;

/** B7: decoding beside onnxruntime-genai, and against the memory's speed. */
export async function* decoding(context: Context): AsyncGenerator<Report> {
  const notes = ["llama.cpp was not measured: Q4_0 weights and llama-bench are not installed here"];
  const why = missing(context, "onnxruntime-genai");
  if (why !== undefined) notes.push(`onnxruntime-genai was not measured: ${why}`);
  const { merged } = await mergedModel(context);
  const size = JSON.parse((await graft("inspect", merged, "--json")).stdout).sizeBytes;
  const compared = why === undefined ? await besideGenai(context, merged) : undefined;
  const decode = compared ?? { graft: await decodeAlone(context, merged) };
  const bandwidth = await memoryBandwidth();
  const goals = [
    ...(compared === undefined ? [] : [
      atLeast("tok/s, times onnxruntime-genai", compared["graft: ratio"], 0.95),
      atLeast(
        "tok/s on the peer's runtime, times onnxruntime-genai",
        compared["graft, peer's runtime: ratio"],
        0.95,
      ),
    ]),
    atLeast("share of the memory's bandwidth", decode.graft * size / bandwidth, 0.7),
  ];
  yield {
    workload: "B7",
    about: `Decode of the merged SmolLM2-135M int4, ${TOKENS} in, ${TOKENS} out`,
    measured_at: new Date().toISOString(),
    rounds: context.rounds,
    peers: [],
    goals,
    tables: [{
      title: `Decoded tokens per second; memory reads ${(bandwidth / 1e9).toFixed(1)} GB/s`,
      rows: Object.entries(decode)
        .filter(([name]) => !name.endsWith(": ratio"))
        .map(([name, tokens]) => ({
          side: name === "peer" ? "onnxruntime-genai" : name,
          "tok/s": tokens,
        })),
    }],
    notes,
  };
}

async function besideGenai({ python, rounds }: Context, merged: string): Promise<Compared> {
  Deno.env.set("GRAFT_PYTHON", python); // how the script, like the tests, is told
  const { stdout } = await run(Deno.execPath(), [
    ...["run", "-A", "--no-check", `${ROOT}scripts/figures/inference.ts`, "--skip", "embed"],
    ...["--model", merged, "--encoder", `${ROOT}models/all-minilm-l6-v2-int8`],
    ...["--prompt", String(TOKENS), "--tokens", String(TOKENS), "--rounds", String(rounds)],
  ]);
  return JSON.parse(stdout.trim().split("\n").at(-1)!).decodeTokensPerSecond;
}

async function decodeAlone({ rounds }: Context, merged: string): Promise<number> {
  const { stdout } = await graft(
    ...["bench", "decode", "--json", "--model", merged, "--rounds", String(rounds)],
    ...["--prompt-tokens", String(TOKENS), "--tokens", String(TOKENS)],
  );
  return JSON.parse(stdout).models[0].decode_tokens_per_s;
}
