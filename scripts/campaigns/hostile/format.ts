/** What a file format brings to the campaign: one file in `formats/`, one line in `registry.ts`. */
import type { Random } from "./random.ts";

/** A file format under attack. */
export interface HostileFormat {
  readonly name: string;
  /** Sound files that mutants are made from; read when first asked for. */
  seeds(): readonly Uint8Array[];
  /** A mutant: the same for the same numbers. */
  mutate(random: Random, seeds: readonly Uint8Array[]): Uint8Array;
  /** Loads what the first file would wait for: compiling graft's own code is not on the clock. */
  prepare?(): Promise<void>;
  /** Reads a file and works with it as the product does; throws what the product throws. */
  probe(file: Uint8Array): void | Promise<void>;
  /** Frees what probes have opened: a process has one runner at a time. */
  finish?(): void;
  /** Default {@linkcode READING}. */
  readonly limits?: Limits;
}

/** What one mutant may take. */
export interface Limits {
  /** Milliseconds of the processor. */
  readonly ms: number;
  /** Most that the process may grow beyond the file's size. */
  readonly growthBytes: number;
}

/** Of formats that are read and no more. */
export const READING: Limits = { ms: 2000, growthBytes: 64 << 20 };

/** Of formats that are planned with and run: no hang beyond 5 s, no more than 1 GB. */
export const RUNNING: Limits = { ms: 5000, growthBytes: 1e9 };

/** Makes a value when it is first asked for. */
export function lazily<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
