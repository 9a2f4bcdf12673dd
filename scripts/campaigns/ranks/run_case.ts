/** One fault: a job that it happens to, what is left of it, and another job that goes on. */
import { join } from "@std/path";
import { relativeDistance } from "../../../src/statistics.ts";
import { adapterNumbers, sha256 } from "../../../tests/helpers/training_runs.ts";
import { Wire } from "../../../tests/helpers/wire.ts";
import { type FaultCase, goesOn, MOST_RANKS } from "./cases.ts";
import { inject, type Injected } from "./inject.ts";
import { diskOf, Job, type JobEnd } from "./job.ts";
import { canResume, faultsOfEnd, faultsOfFiles, faultsOfMetrics } from "./judge.ts";
import { adapterOf, runTo, trainingWords } from "./training.ts";

/** Seconds that graft waits at least: for ranks to start, and to plan. */
const WAITS = { starting: 60, planning: 600 };
/** `--collective-timeout` of jobs that nothing happens to. */
const PATIENCE = 60;
/** Seconds that others wait longer than rank 0. */
const OTHERS = 10;
/** Seconds for everything else, such as planning, on a busy machine. */
const MARGIN = 60;
/** Seconds that a job takes which no fault ends. */
const WHOLE_JOB = 180;

/** What came of a case. */
export interface CaseResult extends FaultCase {
  /** The last line before the fault. */
  readonly after: string;
  readonly code: number;
  /** From the fault to the end of the launcher, and of the last process. */
  readonly seconds: { readonly job: number; readonly all: number };
  /** Bytes that went through the cables before. */
  readonly wireBytes: number;
  /** Steps that were not lost. */
  readonly resumedFrom: string;
  /** How the adapter compares with that of a run without a fault. */
  readonly adapter: string;
  readonly faults: readonly string[];
  /** What the job printed, if something is wrong. */
  readonly output?: string;
}

/** Adapters of runs without a fault, by number of ranks; and how far two of them differ at most. */
export interface Undisturbed {
  readonly folders: readonly string[];
  readonly drift: number;
}

/** Trains without a fault by 1, 2, … ranks, and compares the adapters. */
export async function undisturbed(data: string, root: string): Promise<Undisturbed> {
  const folders: string[] = [];
  for (let ranks = 1; ranks <= MOST_RANKS; ranks++) {
    const folder = join(root, `undisturbed-${ranks}`);
    const words = trainingWords({ data, folder, timeout: PATIENCE });
    const { code, output } = await runTo(ranks, folder, words);
    if (code !== 0) throw new Error(`${ranks} ranks without a fault end with ${code}: ${output}`);
    folders.push(folder);
  }
  const drift = Math.max(
    ...folders.flatMap((a, i) => folders.slice(0, i).map((b) => distance(a, b))),
  );
  return { folders, drift };
}

const distance = (a: string, b: string) =>
  relativeDistance(adapterNumbers(adapterOf(a)), adapterNumbers(adapterOf(b)));

/** Runs a case in a folder of its own. */
export async function runCase(
  one: FaultCase,
  { data, folder, without }: {
    readonly data: string;
    readonly folder: string;
    readonly without: Undisturbed;
  },
): Promise<CaseResult> {
  const { timeout } = one;
  const words = (resume: boolean) =>
    trainingWords({ data, folder, timeout: resume ? PATIENCE : timeout, resume });
  using wire = new Wire(one.ranks);
  const place = { wire, folder };
  const job = new Job(place, words(false));
  const injected = await inject(one, job, place);
  const wireBytes = wire.bytes(one.rank).sent;
  const ended = await endOf(one, job, injected, wire, timeout);
  const faults = [
    ...ended.faults,
    ...faultsOfEnd(one, waitOf(one, timeout), ended),
    ...faultsOfFiles(one, folder, ended),
    ...faultsOfDisks(place),
  ];
  const resumes = !goesOn(one) || ended.code !== 0;
  const from = canResume(folder);
  let last: JobEnd = ended;
  if (resumes) {
    last = await runTo(one.resumedBy, folder, words(from));
    if (last.code !== 0) faults.push(`resuming ended with ${last.code}: ${last.output}`);
    if (last.output.includes("Ignored the checkpoint")) faults.push("a checkpoint was ignored");
  }
  const compared = last.code === 0
    ? await compare(one, resumes, from, folder, without)
    : { adapter: "", faults: [] };
  return {
    ...one,
    ...{ after: injected.after, code: ended.code, seconds: ended.seconds, wireBytes },
    resumedFrom: resumes ? /^Resum.*(step-\d+)/m.exec(last.output)?.[1] ?? "the beginning" : "",
    adapter: compared.adapter,
    faults: [...faults, ...compared.faults],
    ...(faults.length > 0 ? { output: ended.output } : {}),
  };
}

/** Seconds after which a rank counts as lost. */
const waitOf = ({ moment }: FaultCase, timeout: number) =>
  moment === "starting" ? WAITS.starting : moment === "planning" ? WAITS.planning : timeout;

/** Follows a job to the end of its last process. */
async function endOf(
  one: FaultCase,
  job: Job,
  injected: Injected,
  wire: Wire,
  timeout: number,
): Promise<JobEnd & Pick<CaseResult, "seconds" | "faults">> {
  const elapsed = () => (performance.now() - injected.atMs) / 1000;
  const until = async (isOver: () => boolean, seconds: number) => {
    while (!isOver() && elapsed() < seconds) await new Promise((done) => setTimeout(done, 50));
    return isOver();
  };
  const faults: string[] = [];
  const wait = waitOf(one, timeout);
  const isFirst = one.fault === "stopped" && one.rank === 0;
  const most = MARGIN +
    (goesOn(one) ? WHOLE_JOB : one.fault === "killed" ? 0 : wait + (isFirst ? OTHERS : 0));
  if (one.fault === "stopped" && one.moment === "starting") {
    // The launcher waits for a process that has not joined, and nobody else can end it.
    await until(() => job.output.includes("Not all ranks started"), most);
    Deno.kill(injected.pid, "SIGCONT");
  }
  if (!await until(() => job.hasEnded, most)) {
    faults.push(`it had not ended after ${most} s`);
    job.abandon();
  }
  const { code, output } = await job.end;
  const jobSeconds = elapsed();
  const all = Math.max(jobSeconds, one.fault === "killed" ? 0 : wait + OTHERS) + MARGIN;
  if (!await until(() => wire.processes().length === 0, all)) {
    faults.push(`${wire.processes().length} processes were left after ${all} s`);
  }
  await injected.isOver;
  return { code, output, faults, seconds: { job: jobSeconds, all: elapsed() } };
}

/** Only the first board may keep files. */
function faultsOfDisks(place: { readonly wire: Wire; readonly folder: string }): readonly string[] {
  return Array.from({ length: place.wire.boards - 1 }, (_, i) => diskOf(place, i + 1))
    .flatMap((disk) => [...Deno.readDirSync(disk)].map(({ name }) => `${disk} has ${name}`));
}

/** Compares the adapter of a finished run with those of runs without a fault. */
async function compare(
  one: FaultCase,
  resumes: boolean,
  from: boolean,
  folder: string,
  { folders, drift }: Undisturbed,
): Promise<{ readonly adapter: string; readonly faults: readonly string[] }> {
  const faults = [...faultsOfMetrics(folder)];
  const ranks = resumes ? one.resumedBy : one.ranks;
  const expected = folders[ranks - 1];
  const digests = await Promise.all(
    [folder, expected].map((path) => sha256(join(adapterOf(path), "adapter_model.safetensors"))),
  );
  if (digests[0] === digests[1]) return { adapter: "the same bytes", faults };
  const found = distance(folder, expected);
  // The same ranks sum in the same order.
  if (!resumes || !from || ranks === one.ranks) faults.push(`the adapter differs by ${found}`);
  // Two orders of sums in one run drift no further than two runs.
  else if (found > 2 * drift) faults.push(`the adapter differs by ${found}, runs by ${drift}`);
  return { adapter: `differs by ${found.toExponential(1)}`, faults };
}
