/** Figures of `scripts/figures` that have goals and belong on the page: memory predicted, merges, embeddings. */
import { type Context, missing, ROOT } from "./context.ts";
import { atLeast, atMost, type Report, type ReportTable } from "./results.ts";

/** A line that a script prints. */
type Line = Readonly<Record<string, unknown>>;
type Row = ReportTable["rows"][number];

/** Runs a script of `scripts/figures` and reads its lines of JSON. */
async function linesOf(script: string, ...args: readonly string[]): Promise<readonly Line[]> {
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `${ROOT}scripts/figures/${script}`, ...args],
    stdin: "null",
    stderr: "inherit",
  }).output();
  // 1 says that a figure is beyond its limit, which the page shows.
  if (code > 1) throw new Error(`scripts/figures/${script} ended with ${code}`);
  return new TextDecoder().decode(stdout).trim().split("\n").map((line) => JSON.parse(line));
}

/** A report of one table. */
function report(
  body: Pick<Report, "workload" | "about" | "goals"> & { readonly rounds?: number },
  title: string,
  rows: readonly Row[],
  notes: readonly string[] = [],
): Report {
  const measured_at = new Date().toISOString();
  const tables = rows.length === 0 ? [] : [{ title, rows }];
  return { rounds: 1, ...body, measured_at, peers: [], tables, notes };
}

/** How far off predictions of training's peak memory may be. */
const PREDICTION_TOLERANCE = 0.15;

/** Peaks of trainings as they are predicted and as they come. */
export async function* predictedMemory({ shared }: Context): AsyncGenerator<Report> {
  yield memoryReport(await linesOf("memory.ts", "--shared", shared));
}

/** @param lines of scripts/figures/memory.ts */
export function memoryReport(lines: readonly Line[]): Report {
  const measured = lines.filter(({ error }) => error !== undefined);
  if (measured.length === 0) throw new Error("scripts/figures/memory.ts measured nothing");
  const worst = Math.max(...measured.map(({ error }) => Math.abs(Number(error))));
  return report(
    {
      workload: "memory",
      about: "Peak memory of a training, predicted before its first step and measured",
      goals: [atMost("largest relative error of a prediction", worst, PREDICTION_TOLERANCE)],
    },
    "Resident memory over the process tree",
    measured.map(({ number: _, model, predictedMb, measuredMb, error, ...how }) => ({
      model: String(model),
      training: Object.entries(how).map(([name, value]) => `${name} ${value}`).join(", "),
      "predicted MB": Number(predictedMb),
      "measured MB": Number(measuredMb),
      ratio: 1 + Number(error),
    })),
  );
}

/** What the rewrite of a merge adds to the process. */
export async function* mergeMemory({ shared }: Context): AsyncGenerator<Report> {
  const lines = await linesOf("merge_memory.ts", "--shared", shared);
  const measured = lines.filter(({ model }) => model !== undefined);
  const models = [...new Set(measured.map(({ model }) => String(model)))];
  yield report(
    {
      workload: "merge",
      about: "Memory that rewriting a model's weights adds to the process, the certificate aside",
      goals: models.map((name) =>
        atMost(
          `${name}: own memory, times the file`,
          Math.max(...measured.flatMap(({ model, own }) => model === name ? Number(own) : [])),
          1,
        )
      ),
    },
    "Own memory, beside pages of files, which the kernel may drop; activations are collected where " +
      "there are tokens, and the largest sum of them is 9.4 MB in both models",
    measured.map(({ model, how, targets, tokens, fileMb, ownMb, own }) => ({
      model: String(model),
      method: String(how),
      targets: String(targets),
      tokens: Number(tokens),
      "file MB": Number(fileMb),
      "own MB": Number(ownMb),
      "times the file": Number(own),
    })),
  );
}

/** Embeddings beside onnxruntime in Python, batch by batch. */
export async function* embeddings(context: Context): AsyncGenerator<Report> {
  const about =
    "Sentences embedded by MiniLM int8, beside onnxruntime in Python on the same batches";
  const why = missing(context, "onnxruntime-genai");
  if (why !== undefined) {
    yield report({ workload: "embeddings", about, goals: [] }, "", [], [`Not measured: ${why}`]);
    return;
  }
  Deno.env.set("GRAFT_PYTHON", context.python);
  const lines = await linesOf(
    "inference.ts",
    ...["--skip", "decode", "--shared", context.shared, "--rounds", String(context.rounds)],
  );
  const compared = lines.flatMap(({ task, batch, sentences }) =>
    task === "embed" ? [{ batch: Number(batch), ...sentences as Record<string, number> }] : []
  );
  const like = "graft, peer's runtime";
  yield report(
    {
      workload: "embeddings",
      about,
      rounds: context.rounds,
      goals: compared.map((found) =>
        atLeast(
          `sentences/s in batches of ${found.batch}, times onnxruntime`,
          (found as Record<string, number>)["graft, ratio"],
          1,
        )
      ),
    },
    "Sentences a second; ratios are medians of the turns'",
    compared.map((found) => {
      const of = found as Record<string, number>;
      return {
        batch: found.batch,
        graft: of["graft, per second"],
        [like]: of[`${like}, per second`],
        onnxruntime: of["peer, per second"],
        "times onnxruntime": of["graft, ratio"],
        "on its runtime": of[`${like}, ratio`],
      };
    }),
  );
}
