/** Starts graft under MPI launchers that Python's packages `mpich` and `openmpi` bring. */
import { dirname, join } from "@std/path";
import { commandLine } from "./graft.ts";
import { python } from "./requirements.ts";

/** A launcher and the library of its ranks. */
export interface MpiLauncher {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly library: string;
}

/** Folder of the environment that {@linkcode python} belongs to. */
const ENVIRONMENT = dirname(dirname(python()));

const place = (path: string) => join(ENVIRONMENT, path);

/** MPICH by the standard's binary interface and by its own, and Open MPI. */
export const LAUNCHERS: readonly MpiLauncher[] = [
  ...["libmpi_abi.so.1", "libmpi.so.12"].map((library) => ({
    name: `MPICH's ${library}`,
    program: place("bin/mpiexec.hydra"),
    args: [],
    library: place(`lib/${library}`),
  })),
  {
    name: "Open MPI",
    program: place("bin/prterun"),
    args: ["--allow-run-as-root", "--oversubscribe"],
    library: place("lib/libmpi.so.40"),
  },
];

/** Open MPI's launcher, told to leave the other ranks alone if one is killed. */
export const LEAVING_OTHERS: MpiLauncher = {
  ...LAUNCHERS[2],
  args: [...LAUNCHERS[2].args, "--runtime-options", "recoverable"],
};

/** Why the launchers cannot be used, `undefined` where they can. */
export function mpiMissing(): string | undefined {
  const missing = LAUNCHERS.flatMap(({ program, library }) => [program, library])
    .find((path) => {
      try {
        return !Deno.statSync(path).isFile;
      } catch {
        return true;
      }
    });
  return missing === undefined ? undefined : `${missing} is missing (packages mpich, openmpi)`;
}

/** Starts a job of graft. */
export function startRanks(
  { program, args, library }: MpiLauncher,
  count: number,
  words: readonly string[],
): Deno.ChildProcess {
  return new Deno.Command(program, {
    args: [...args, "-n", String(count), ...commandLine(words)],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1", GRAFT_MPI_LIB: library },
  }).spawn();
}

/** How a job that was started ends; what it prints is read from now on. */
export async function endOf(
  child: Deno.ChildProcess,
): Promise<{ readonly code: number; readonly output: string }> {
  const { code, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, output: text.decode(stdout) + text.decode(stderr) };
}

/** Runs a job to its end. */
export function runRanks(launcher: MpiLauncher, count: number, words: readonly string[]) {
  return endOf(startRanks(launcher, count, words));
}

/** Process ids of the ranks of a job whose command line has a word, by rank. */
export function rankProcesses(word: string): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (!Deno.readTextFileSync(`/proc/${name}/cmdline`).split("\0").includes(word)) continue;
      const environment = Deno.readTextFileSync(`/proc/${name}/environ`);
      const rank = /(?:^|\0)(?:PMI_RANK|OMPI_COMM_WORLD_RANK|PMIX_RANK)=(\d+)/.exec(environment)
        ?.[1];
      if (rank !== undefined) found.set(Number(rank), Number(name));
    } catch {
      // It has ended.
    }
  }
  return found;
}
