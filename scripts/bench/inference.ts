/** B6 and B7: a merged language model beside its base, and beside onnxruntime-genai. */
import { median } from "../../src/statistics.ts";
import { exists } from "../../src/system/durable_files.ts";
import { graft, run } from "../figures/children.ts";
import { workload } from "../figures/workloads.ts";
import { memoryBandwidth } from "./bandwidth.ts";
import { cacheBytes, type DecodingCeiling, decodingCeiling } from "./decode_ceiling.ts";
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

/**
 * A hundredth of a difference is looked for, and of two sessions with one model either may be quicker by
 * several, for as long as it lives, by where its memory lies: so many processes are started.
 */
const PROCESSES = 9;

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
  const found: Beside[] = [];
  for (let i = 0; i < PROCESSES; i++) {
    found.push(await besideBase(context, merged, base, i % 2 === 1));
  }
  const middle = (figure: (one: Beside) => number) => median(found.map(figure));
  const prefill = middle((one) => one.prefill);
  const decode = middle((one) => one.decode);
  const medians = (side: "merged" | "base") => ({
    model: side,
    "file MB": middle((one) => one[side].size_mb),
    [`prefill ${TOKENS} ms`]: middle((one) => one[side].prefill_ms),
    "decode tok/s": middle((one) => one[side].decode_tokens_per_s),
  });
  const size = middle(({ merged, base }) => merged.size_mb / base.size_mb);
  yield {
    workload: "B6",
    about: `SmolLM2-135M int4 merged against its base, prefill ${TOKENS}, decode ${TOKENS}`,
    measured_at: new Date().toISOString(),
    rounds: PROCESSES * context.rounds,
    peers: [],
    goals: [
      atMost("prefill time, times the base", prefill, 1.01),
      atMost("decode time, times the base", decode, 1.01),
      atMost("file size, times the base", size, 1.001),
    ],
    tables: [{
      title:
        `Ratios of ${PROCESSES} processes; one model against itself is what memory's place and ` +
        "the machine's noise do to them",
      rows: [
        { of: "merged, median", prefill, decode },
        { of: "one model against itself, median", ...againstItself(middle) },
        ...(["least", "most"] as const).map((which) => ({
          of: `one model against itself, ${which}`,
          ...againstItself((figure) =>
            Math[which === "least" ? "min" : "max"](...found.map(figure))
          ),
        })),
      ],
    }, {
      title: "Medians",
      rows: [medians("merged"), medians("base")],
    }],
    notes: [],
  };
}

/** What one process found of the merged model and its base. */
interface Beside {
  readonly merged: Decoded;
  readonly base: Decoded;
  /** Times of the merged model over those of the base. */
  readonly prefill: number;
  readonly decode: number;
  /** The same of one of the models and itself. */
  readonly prefillControl: number;
  readonly decodeControl: number;
}

const againstItself = (of: (figure: (one: Beside) => number) => number) => ({
  prefill: of((one) => one.prefillControl),
  decode: of((one) => one.decodeControl),
});

/** @param swapped which of the two is opened first: the base, or the merged model */
async function besideBase(
  context: Context,
  merged: string,
  base: string,
  swapped: boolean,
): Promise<Beside> {
  const [first, second] = swapped ? [base, merged] : [merged, base];
  const { stdout } = await graft(
    ...["bench", "decode", "--json", "--model", first, "--against", second],
    ...["--prompt-tokens", String(TOKENS), "--tokens", String(TOKENS)],
    ...["--rounds", String(context.rounds)],
  );
  const found = JSON.parse(stdout);
  const [one, other]: readonly Decoded[] = found.models;
  const ratio = (value: number) => swapped ? 1 / value : value;
  return {
    merged: swapped ? other : one,
    base: swapped ? one : other,
    prefill: ratio(found.prefill_ratio),
    decode: ratio(found.decode_ratio),
    prefillControl: found.prefill_control_ratio,
    decodeControl: found.decode_control_ratio,
  };
}

/** What `scripts/figures/inference.ts` prints of decoded tokens: `graft, ratio`, `peer, per second`. */
type Compared = Readonly<Record<string, number>>;

/** Who takes part there; graft's own runtime first. */
const SIDES = ["graft", "graft, peer's runtime", "peer"];

function figureOf(compared: Compared, name: string): number {
  const found = compared[name];
  if (typeof found === "number") return found;
  throw new Error(`scripts/figures/inference.ts printed no "${name}"`);
}

/** Share of the memory's bandwidth that decoding, which reads weights and caches for a token, is to reach. */
const SHARE_OF_BANDWIDTH = 0.7;

/** B7: decoding beside onnxruntime-genai, and against the memory's speed. */
export async function* decoding(context: Context): AsyncGenerator<Report> {
  const notes = ["llama.cpp was not measured: Q4_0 weights and llama-bench are not installed here"];
  const why = missing(context, "onnxruntime-genai");
  if (why !== undefined) notes.push(`onnxruntime-genai was not measured: ${why}`);
  const { merged } = await mergedModel(context);
  const size = JSON.parse((await graft("inspect", merged, "--json")).stdout).sizeBytes;
  const compared = why === undefined ? await besideGenai(context, merged) : undefined;
  // In turn with others a token finds its caches cold and its threads asleep.
  const alone = await decodeAlone(context, merged);
  const inTurn = compared === undefined
    ? []
    : SIDES.map((name) => [name, figureOf(compared, `${name}, per second`)] as const);
  const speeds = [["graft, alone", alone] as const, ...inTurn];
  const bandwidth = await memoryBandwidth();
  const ceiling = await decodingCeiling(merged, TOKENS + TOKENS / 2);
  const read = size + cacheBytes(merged, TOKENS, TOKENS);
  const needed = SHARE_OF_BANDWIDTH * bandwidth / read;
  const ratio = (name: string) => figureOf(compared!, `${name}, ratio`);
  const goals = [
    ...(compared === undefined ? [] : [
      atLeast("tok/s, times onnxruntime-genai", ratio("graft"), 0.95),
      atLeast("the same on the peer's runtime", ratio("graft, peer's runtime"), 0.95),
    ]),
    atLeast("share of the memory's bandwidth", alone * read / bandwidth, SHARE_OF_BANDWIDTH),
  ];
  yield {
    workload: "B7",
    about: `Decode of the merged SmolLM2-135M int4, ${TOKENS} in, ${TOKENS} out`,
    measured_at: new Date().toISOString(),
    rounds: context.rounds,
    peers: [],
    goals,
    tables: [{
      title:
        `Decoded tokens per second; memory reads ${(bandwidth / 1e9).toFixed(1)} GB/s, a token ` +
        `${(read / 1e6).toFixed(1)} MB of weights and caches`,
      rows: speeds.map(([name, tokens]) => ({
        side: name === "peer" ? "onnxruntime-genai" : name,
        "tok/s": tokens,
      })),
    }, {
      title:
        "Goals beside what the kernels allow: the model's MatMulNBits alone, one token's, and " +
        "with its GroupQueryAttention",
      rows: [{
        goal: `${SHARE_OF_BANDWIDTH} of the memory's bandwidth`,
        "needs, tok/s": needed,
        "products alone, tok/s": ceiling.products,
        "with attention, tok/s": ceiling.withAttention,
        "on this machine": reached(needed, ceiling),
      }],
    }],
    notes,
  };
}

function reached(needed: number, { products, withAttention }: DecodingCeiling): string {
  const allowed = (who: string, speed: number) =>
    `out of reach: needs ${Math.round(needed)} tok/s; ${who} allow ${Math.round(speed)}`;
  if (needed > products) return allowed("the products alone", products);
  if (needed > withAttention) return allowed("products and attention", withAttention);
  return "the kernels allow it";
}

async function besideGenai({ python, rounds, shared }: Context, merged: string): Promise<Compared> {
  Deno.env.set("GRAFT_PYTHON", python); // how the script, like the tests, is told
  const { stdout } = await run(Deno.execPath(), [
    ...["run", "-A", "--no-check", `${ROOT}scripts/figures/inference.ts`, "--skip", "embed"],
    ...["--shared", shared, "--model", merged, "--encoder", `${ROOT}models/all-minilm-l6-v2-int8`],
    // The first token belongs to the prompt's time.
    ...["--prompt", String(TOKENS), "--tokens", String(TOKENS + 1), "--rounds", String(rounds)],
  ]);
  const lines = stdout.trim().split("\n").map((line) => JSON.parse(line));
  return lines.find(({ task }) => task === "decode").tokensDecoded;
}

async function decodeAlone({ rounds }: Context, merged: string): Promise<number> {
  const { stdout } = await graft(
    ...["bench", "decode", "--json", "--model", merged, "--rounds", String(rounds)],
    ...["--prompt-tokens", String(TOKENS), "--tokens", String(TOKENS)],
  );
  return JSON.parse(stdout).models[0].decode_tokens_per_s;
}
