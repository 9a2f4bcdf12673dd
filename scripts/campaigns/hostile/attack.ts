/**
 * Every mutant of a file must be read or refused with a typed error, within a time and an amount of
 * memory. The everyday test runs a share of the mutants in its own process, the campaign all of
 * them in a child.
 */
import { GraftError } from "../../../src/errors.ts";
import { type HostileFormat, READING } from "./format.ts";
import { forgetPeak, memoryOf, processorMs } from "./process.ts";
import { randomOf } from "./random.ts";

/** What became of one mutant. */
export interface Outcome {
  readonly accepted: boolean;
  /** Of the processor: other work on the machine is not the mutant's fault. */
  readonly ms: number;
  /** What its peak lay above the memory before it, less the file's size. */
  readonly growthBytes: number;
  /** Broken promises. */
  readonly faults: readonly string[];
}

/** The mutant with this number. */
export function mutantOf(format: HostileFormat, number: number, seed: number): Uint8Array {
  return format.mutate(randomOf(number, seed), format.seeds());
}

/** Puts one file to use in this process. */
export async function attackWith(format: HostileFormat, file: Uint8Array): Promise<Outcome> {
  const limits = format.limits ?? READING;
  const faults: string[] = [];
  let accepted = false;
  forgetPeak();
  const before = memoryOf().residentBytes;
  const start = processorMs();
  try {
    await format.probe(file);
    accepted = true;
  } catch (error) {
    if (!(error instanceof GraftError)) faults.push((error as Error).stack ?? String(error));
  }
  const ms = processorMs() - start;
  const growthBytes = memoryOf().peakBytes - before - file.byteLength;
  if (ms > limits.ms) faults.push(`took ${ms.toFixed()} ms`);
  if (growthBytes > limits.growthBytes) faults.push(`memory grew by ${growthBytes} bytes`);
  return { accepted, ms, growthBytes, faults };
}

/** What became of many mutants. */
export class HostileResult {
  accepted = 0;
  refused = 0;
  slowestMs = 0;
  mostGrowthBytes = 0;
  /** One line for each broken promise, with the mutant's number. */
  readonly faults: string[] = [];

  /** @param onFault told of each fault as it is found */
  constructor(
    readonly format: string,
    readonly count: number,
    readonly seed: number,
    readonly onFault?: (line: string) => void,
  ) {}

  add(number: number, { accepted, ms, growthBytes, faults }: Outcome): void {
    if (accepted) this.accepted++;
    else if (faults.length === 0) this.refused++;
    this.slowestMs = Math.max(this.slowestMs, ms);
    this.mostGrowthBytes = Math.max(this.mostGrowthBytes, growthBytes);
    for (const fault of faults) this.fault(number, fault);
  }

  fault(number: number, what: string): void {
    const line = `${this.format} ${number}: ${what}`;
    this.faults.push(line);
    this.onFault?.(line);
  }
}

/** Runs the first `count` mutants of a format in this process. */
export async function attack(
  format: HostileFormat,
  count: number,
  seed: number,
): Promise<HostileResult> {
  const result = new HostileResult(format.name, count, seed);
  try {
    await format.prepare?.();
    for (let number = 0; number < count; number++) {
      result.add(number, await attackWith(format, mutantOf(format, number, seed)));
    }
  } finally {
    format.finish?.();
  }
  return result;
}
