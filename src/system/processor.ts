/** Identifies the processor, for which kernel speeds are stored. Linux. */
import { createHash } from "node:crypto";
import { readKernelFile } from "./kernel_files.ts";

export interface Processor {
  /** Its name in the kernel: `Intel(R) Xeon(R) Processor @ 2.60GHz`, `ARM 0x41 0xd0b`. */
  readonly name: string;
  /** Digest of its instruction sets, in which virtual machines of the same name differ. */
  readonly features: string;
  /** Cores that this process may use. */
  readonly cores: number;
  /** Threads that run at once. */
  readonly threads: number;
}

/** Parses `/proc/cpuinfo`, of x86 or of ARM; `cores` is the number of all cores, at least 1. */
export function parseProcessor(text: string): Omit<Processor, "threads"> {
  const field = (name: string) => new RegExp(`^${name}\\s*: *(.*)$`, "m").exec(text)?.[1].trim();
  const arm = ["CPU implementer", "CPU part"].map(field);
  return {
    name: field("model name") ?? (arm[0] === undefined ? "unknown" : `ARM ${arm.join(" ")}`),
    features: createHash("sha256").update(field("flags") ?? field("Features") ?? "").digest("hex")
      .slice(0, 8),
    cores: coreCount(text),
  };
}

/** Threads of one core share its ids; ARM processors have none. */
function coreCount(text: string): number {
  const processors = text.split(/^processor\s*:/m).slice(1);
  const cores = processors.map((processor, i) => {
    const [core, socket] = ["core id", "physical id"].map((name) =>
      new RegExp(`^${name}\\s*: *(.*)$`, "m").exec(processor)?.[1]
    );
    return core === undefined ? `processor ${i}` : `${socket} ${core}`;
  });
  return Math.max(1, new Set(cores).size);
}

/** The processor graft runs on. */
export function processor(): Processor {
  const threads = navigator.hardwareConcurrency;
  const found = parseProcessor(readKernelFile("/proc/cpuinfo") ?? "");
  return { ...found, cores: Math.min(found.cores, threads), threads };
}
