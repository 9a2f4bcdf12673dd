/** `graft bench start`: measures the time to the first result of a new process. */
import { EXIT, RefusedError } from "../../errors.ts";
import { findModelFile } from "../../model/find_model.ts";
import { median } from "../../statistics.ts";
import { readKernelFile } from "../../system/kernel_files.ts";
import { startSelf } from "../../system/own_process.ts";
import { processor } from "../../system/processor.ts";
import { JSON_FLAG, MODEL_FLAG } from "./bench_flags.ts";
import { command } from "../command.ts";
import { integer, text } from "../flags.ts";
import { RUNTIME_FLAGS, runtimeArguments } from "../runtime_flags.ts";
import { printTable } from "../terminal/table.ts";

export default command({
  name: "bench start",
  summary: "Measure the time from the start of the program to its first result",
  flags: {
    model: MODEL_FLAG,
    prompt: text("Text that `graft run` is asked", { short: "p", default: "Hello" }),
    rounds: integer("Starts to time, after one that is left out", { default: 5, min: 1 }),
    json: JSON_FLAG,
    ...RUNTIME_FLAGS,
  },
  needs: ["run"],
  examples: [
    {
      command: "graft bench start --model ./smollm2-int4",
      does: "starts `graft run` several times and waits for the first token",
    },
  ],
  async run({ flags, terminal }) {
    findModelFile(flags.model);
    const args = [
      ...["run", flags.model, "--prompt", flags.prompt],
      ...runtimeArguments(flags),
    ];
    const starts: Start[] = [];
    for (let round = 0; round <= flags.rounds; round++) {
      const start = await firstResult(args);
      if (round > 0) starts.push(start); // the first one reads files into the page cache
    }
    const times = starts.map(({ seconds }) => seconds);
    const figures = {
      rounds: flags.rounds,
      median_s: median(times),
      fastest_s: Math.min(...times),
      slowest_s: Math.max(...times),
      own_mb: megabytes(starts.map(({ ownBytes }) => ownBytes)),
      file_mb: megabytes(starts.map(({ fileBytes }) => fileBytes)),
    };
    const { name, threads } = processor();
    if (flags.json) {
      terminal.print(JSON.stringify({
        model: flags.model,
        processor: `${name}, ${threads} threads`,
        ...figures,
      }));
      return EXIT.ok;
    }
    terminal.print(`${name}, ${threads} threads; files in the page cache`);
    printTable([figures], [
      { heading: "starts", cell: (row) => row.rounds },
      { heading: "median s", cell: (row) => row.median_s },
      { heading: "fastest", cell: (row) => row.fastest_s },
      { heading: "slowest", cell: (row) => row.slowest_s },
      { heading: "own memory MB", cell: (row) => row.own_mb },
      { heading: "of files MB", cell: (row) => row.file_mb },
    ], terminal);
    return EXIT.ok;
  },
});

/** Ends a process that may already have ended. */
function end(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // it has ended
  }
}

/** Median of the measured memory; there is none for a process that ended at once. */
function megabytes(bytes: readonly number[]): number | undefined {
  const seen = bytes.filter(Number.isFinite);
  return seen.length === 0 ? undefined : median(seen) / 1e6;
}

/** Time and memory of a start. */
interface Start {
  readonly seconds: number;
  /**
   * Private memory at the first result, and pages of files, which may be dropped; NaN if the process had
   * ended by then.
   */
  readonly ownBytes: number;
  readonly fileBytes: number;
}

/**
 * Waits until a fresh process writes the first byte of its result; the process is ended then.
 *
 * @throws {RefusedError} if it ends without one
 */
async function firstResult(args: readonly string[]): Promise<Start> {
  const start = performance.now();
  const child = startSelf(args, "piped");
  const stderr = new Response(child.stderr).text();
  const reader = child.stdout.getReader();
  const { done } = await reader.read();
  const seconds = (performance.now() - start) / 1000;
  const status = readKernelFile(`/proc/${child.pid}/status`) ?? "";
  const bytes = (field: string) =>
    1024 * Number(new RegExp(`^${field}:\\s*(\\d+)`, "m").exec(status)?.[1] ?? NaN);
  const [ownBytes, fileBytes] = [bytes("RssAnon"), bytes("RssFile")];
  await reader.cancel();
  if (!done) end(child);
  await child.status;
  if (!done) return { seconds, ownBytes, fileBytes };
  throw new RefusedError(`\`graft run\` gave no result: ${(await stderr).trim()}`);
}
