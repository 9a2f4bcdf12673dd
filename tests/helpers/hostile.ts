/**
 * PROMISES 6: hostile files cannot kill graft. Every mutant of a file must be read or refused with
 * a typed error, within a time and an amount of memory.
 *
 * A format is one entry of {@linkcode FORMATS}; the everyday test runs a share of the mutants in its
 * own process, `deno task campaign:hostile` all of them in a child.
 */
import { GraftError } from "../../src/errors.ts";
import { HOSTILE_ONNX, HOSTILE_SAFETENSORS } from "./hostile_formats.ts";
import { HOSTILE_JSONL, HOSTILE_TOKENIZER } from "./hostile_text_formats.ts";
import { randomOf } from "./mutants.ts";

/** A file format under attack. */
export interface HostileFormat {
  readonly name: string;
  /** The mutant with this number. */
  mutant(random: ReturnType<typeof randomOf>): Uint8Array;
  /** Loads what the first file would wait for: compiling graft's own code is not on the clock. */
  prepare?(): Promise<void>;
  /** Reads a file as the product does; throws what the product throws. */
  parse(file: Uint8Array): void | Promise<void>;
}

export const FORMATS: readonly HostileFormat[] = [
  HOSTILE_ONNX,
  HOSTILE_SAFETENSORS,
  HOSTILE_TOKENIZER,
  HOSTILE_JSONL,
];

const MAX_MS = 2000;
const MAX_GROWTH_BYTES = 64 << 20;

/** What became of some mutants. */
export interface HostileResult {
  format: string;
  count: number;
  accepted: number;
  refused: number;
  slowestMs: number;
  /** Most that a mutant's peak lay above the memory before it, less the file's size. */
  mostGrowthBytes: number;
  /** One line for each broken promise, with the mutant's number. */
  faults: string[];
}

/** The result before the first of `count` mutants. */
export function noMutants(format: string, count: number): HostileResult {
  return {
    format,
    count,
    accepted: 0,
    refused: 0,
    slowestMs: 0,
    mostGrowthBytes: 0,
    faults: [],
  };
}

function residentBytes(field: "VmRSS" | "VmHWM"): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return 1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)![1]);
}

/** Forgets the peak of memory so far; see proc(5), clear_refs. */
const forgetPeak = () => Deno.writeTextFileSync("/proc/self/clear_refs", "5");

/** Runs mutants number `from` to `from + count` of a format. */
export async function attack(
  format: HostileFormat,
  from: number,
  count: number,
  onProgress: (next: number) => void = () => {},
): Promise<HostileResult> {
  const result = noMutants(format.name, count);
  await format.prepare?.();
  for (let number = from; number < from + count; number++) {
    onProgress(number);
    const file = format.mutant(randomOf(number));
    forgetPeak();
    const before = residentBytes("VmRSS");
    const start = performance.now();
    try {
      await format.parse(file);
      result.accepted++;
    } catch (error) {
      if (error instanceof GraftError) result.refused++;
      else result.faults.push(`${format.name} ${number}: ${(error as Error).stack ?? error}`);
    }
    const ms = performance.now() - start;
    const growth = residentBytes("VmHWM") - before - file.byteLength;
    result.slowestMs = Math.max(result.slowestMs, ms);
    result.mostGrowthBytes = Math.max(result.mostGrowthBytes, growth);
    if (ms > MAX_MS) result.faults.push(`${format.name} ${number}: took ${ms.toFixed()} ms`);
    if (growth > MAX_GROWTH_BYTES) {
      result.faults.push(`${format.name} ${number}: memory grew by ${growth} bytes`);
    }
  }
  return result;
}
