/**
 * What merging keeps of an adapter's gain, and what it takes: for workloads, stored forms of the model,
 * targets and ranks, a LoRA is trained and merged in each way, and an adapter of scales is trained for
 * the same steps. Prints a JSON line a merge: the share of the LoRA's gain kept with its 95% interval,
 * the file's size and the latency against the base's, and seconds beside those of the training.
 * scripts/figures/merges_page.ts makes docs/merging.md of such lines.
 *
 * usage: deno run -A scripts/figures/merges.ts [--workloads e2e,plain,chats,banking77]
 *   [--forms int4-32,int4-128-zero-points,qdq-int4,nf4,int8,int4] [--targets qv,all]
 *   [--ranks 4,16,64] [--ways auto,nearest,compensated,tuned,scales] [--iters 48] [--rows 192]
 *   [--learning-rate X] [--shared ../shared] [--models FOLDER] [--keep FOLDER]
 * banking77 is MiniLM, a classifier, in int8 per channel (int8) and int4 blocks of 32 (int4); the others
 * are SmolLM2, in the other forms. --models keeps the models that scripts/figures/merge_forms.ts makes
 * for other runs; --keep leaves rows and adapters in a folder, for scripts/figures/tuning.ts and
 * straight_through.py. --learning-rate is LoRA's, in the place of its workload's. GRAFT_PYTHON names a Python with onnx and onnxruntime, which make some of them.
 */
import { parseArgs } from "@std/cli/parse-args";
import { join } from "@std/path";
import { parse } from "@std/csv";
import { processor } from "../../src/system/processor.ts";
import { run } from "./children.ts";
import { type Family, formsOf, MergeForms } from "./merge_forms.ts";

const flags = parseArgs(Deno.args, {
  string: [
    ..."workloads forms targets ranks ways iters rows shared models keep".split(" "),
    "learning-rate",
  ],
  default: {
    workloads: "e2e,plain,chats,banking77",
    forms: "int4-32,int4-128-zero-points,qdq-int4,nf4,int8,int4",
    targets: "qv,all",
    ranks: "4,16,64",
    ways: "auto,nearest,compensated,tuned,scales",
    iters: "48",
    rows: "192",
    shared: "../shared",
  },
});
/** Held-out rows. */
const HELD_OUT = 64;
/** Questions and answers of e2e that make a chat. */
const TURNS = 3;
/** Texts of banking77 that make a row of plain text. */
const TEXTS_A_ROW = 8;
const rows = Number(flags.rows);
const { name: processorName, threads } = processor();

interface Workload {
  /** Whose forms are measured. */
  readonly family: Family;
  /** Training and held-out rows, as a file's text. */
  readonly data: (part: "train" | "valid") => string;
  readonly extension: "jsonl" | "csv";
  readonly targets: Readonly<Record<string, string>>;
  readonly arguments: readonly string[];
}

const lines = (values: readonly unknown[]) =>
  values.map((v) => JSON.stringify(v)).join("\n") + "\n";

function e2eRows(part: "train" | "valid"): { prompt: string; completion: string }[] {
  const name = part === "train" ? "bench512" : "bench_valid";
  const all = Deno.readTextFileSync(`${flags.shared}/data/e2e/${name}.jsonl`).trim().split("\n");
  return all.slice(0, part === "train" ? rows : HELD_OUT).map((line) => JSON.parse(line));
}

function bankingRows(part: "train" | "valid"): string[][] {
  const name = part === "train" ? "train" : "test";
  const all: string[][] = parse(
    Deno.readTextFileSync(`${flags.shared}/data/banking77/${name}.csv`),
  ).slice(1);
  // The file is sorted by class: steps near the golden section of its length come by all of them soon.
  const step = 6183;
  return all.map((_, i) => all[(i * step) % all.length]);
}

function plainRows(part: "train" | "valid") {
  const texts = bankingRows(part).map(([text]) => text);
  return Array.from({ length: part === "train" ? rows : HELD_OUT }, (_, i) => ({
    text: texts.slice(i * TEXTS_A_ROW, (i + 1) * TEXTS_A_ROW).join(" "),
  }));
}

const language = {
  family: "smollm2",
  extension: "jsonl",
  targets: { qv: "q,v", all: "all-linear" },
  arguments: ["--batch-size", "4", "--learning-rate", "5e-4"],
} as const;

const WORKLOADS: Readonly<Record<string, Workload>> = {
  e2e: { ...language, data: (part) => lines(e2eRows(part)) },
  plain: { ...language, data: (part) => lines(plainRows(part)) },
  chats: {
    ...language,
    data: (part) =>
      lines(
        e2eRows(part).map((_, i, pairs) => ({
          messages: Array.from({ length: TURNS }, (_, turn) =>
            pairs[(TURNS * i + turn) % pairs.length])
            .flatMap(({ prompt, completion }) => [
              { role: "user", content: prompt },
              { role: "assistant", content: completion },
            ]),
        })),
      ),
  },
  banking77: {
    family: "minilm",
    extension: "csv",
    targets: { qv: "query,value", all: "all-linear" },
    arguments: ["--batch-size", "32", "--learning-rate", "2e-3"],
    data: (part) =>
      [["text", "label"], ...bankingRows(part).slice(0, part === "train" ? 8 * rows : 4 * HELD_OUT)]
        .map((row) => row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join()).join("\n") +
      "\n",
  },
};

const graft = (...args: string[]) => run(Deno.execPath(), ["task", "--quiet", "graft", ...args]);

const folder = flags.keep ?? Deno.makeTempDirSync({ prefix: "graft-figures-" });
Deno.mkdirSync(folder, { recursive: true });
if (flags.models !== undefined) Deno.mkdirSync(flags.models, { recursive: true });
const models = new MergeForms(flags.shared, flags.models ?? folder);
try {
  for (const name of flags.workloads.split(",")) {
    const work = WORKLOADS[name];
    const data = join(folder, name);
    Deno.mkdirSync(data, { recursive: true });
    for (const part of ["train", "valid"] as const) {
      Deno.writeTextFileSync(join(data, `${part}.${work.extension}`), work.data(part));
    }
    for (const form of flags.forms.split(",")) {
      if (!formsOf(work.family).includes(form)) continue;
      const model = await models.model(work.family, form);
      for (const targets of flags.targets.split(",")) {
        for (const rank of flags.ranks.split(",")) {
          await figuresOf({ workload: name, form, targets, rank: Number(rank) }, work, model, data);
        }
      }
    }
  }
} finally {
  if (flags.keep === undefined) Deno.removeSync(folder, { recursive: true });
}

/** What a line of figures is about. */
interface Case {
  readonly workload: string;
  readonly form: string;
  readonly targets: string;
  readonly rank: number;
}

/**
 * @param model folder of the base
 * @param data folder of the rows
 */
async function figuresOf(
  measured: Case,
  work: Workload,
  model: string,
  data: string,
): Promise<void> {
  const { targets, rank } = measured;
  const train = async (type: string, more: readonly string[] = []) => {
    const path = join(folder, type);
    const { seconds } = await graft(
      ...["train", "--model", model, "--data", data, "--adapter-path", path, "--overwrite"],
      ...["--numeric", "fast", "--rank", String(rank), "--lora-alpha", String(2 * rank)],
      ...["--target-modules", work.targets[targets], "--iters", flags.iters],
      ...["--steps-per-eval", "1000000", "--adapter-type", type, ...work.arguments, ...more],
    );
    return { path, seconds };
  };
  const merge = async (path: string, method: string) => {
    const target = join(folder, "merged");
    const { seconds } = await graft(
      ...["merge", "--model", model, "--adapter-path", path, "--save-path", target, "--force"],
      ...["--method", method],
    );
    const certificate = JSON.parse(Deno.readTextFileSync(join(target, "certificate.json")));
    return { seconds, certificate };
  };
  const rate = flags["learning-rate"];
  const lora = await train("lora", rate === undefined ? [] : ["--learning-rate", rate]);
  let gain: number | undefined;
  for (const way of flags.ways.split(",")) {
    // Scales learn at ten times the rate.
    const trained = way === "scales" ? await train("scales", ["--learning-rate", "5e-3"]) : lora;
    const { seconds, certificate } = await merge(trained.path, way === "scales" ? "auto" : way);
    const { held_out, candidates } = certificate;
    const written = way === "auto" ? certificate.method : way;
    const found = candidates.find(({ method }: { method: string }) => method === written);
    if (found === undefined) {
      console.error(`${JSON.stringify({ ...measured, way })}: it could not be merged so`);
      continue;
    }
    if (way !== "scales") gain = held_out.base.loss - held_out.adapter.loss;
    console.log(JSON.stringify({
      ...measured,
      iters: Number(flags.iters),
      way,
      method: written,
      base: held_out.base.loss,
      adapter: held_out.adapter.loss,
      merged: found.loss,
      gain_kept: way === "scales" && gain !== undefined
        ? (held_out.base.loss - found.loss) / gain
        : found.gain_kept ?? null,
      // That of scales is of their own gain, all of which is kept.
      interval: way === "scales" ? null : found.gain_kept_interval ?? null,
      size: found.size_ratio,
      latency: found.latency?.ratio ?? null,
      latency_control: found.latency?.control_ratio ?? null,
      training_seconds: trained.seconds,
      merge_seconds: seconds,
      share_of_training: seconds / trained.seconds,
      processor: `${processorName}, ${threads} threads`,
    }));
  }
}
