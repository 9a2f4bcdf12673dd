/**
 * What a process of graft takes beside what its plans say, in bytes: measured once. Predictions of memory
 * are given it (`plan/memory.ts`).
 */
import { GARBAGE_BYTES } from "./memory.ts";

const MIB = 2 ** 20;

export const PROCESS_MEMORY = {
  /**
   * Deno, graft's code and ONNX Runtime, the young heap included: what is left of peaks once all else is
   * taken off (MiniLM 143, SmolLM2 157).
   */
  programBytes: 150 * MIB,
  /** Of the compiled program, its own code as text and bytecode (MiniLM 4×64: 222 against 189 MiB). */
  compiledBytes: 30 * MIB,
  /**
   * An MPI library with its queues and shared memory: 28 to 30 MB after sums of 4 MB and messages of 2.4,
   * with two ranks of MPICH 5 and of Open MPI 5.
   */
  mpiBytes: 28 * MIB,
  /** Deno with graft's code and a tokenizer, before the runtime is opened. */
  textBytes: 130 * MIB,
  /** The tokenizer's tables as JavaScript objects (SmolLM2's 3.5 MB: 200). */
  tokenizerFactor: 58,
  /** A compiled session and its graph's objects: what 27 and what 98 of SmolLM2's left. */
  sessionNodeBytes: 10 * 1024,
  /**
   * JavaScript objects: a plan of SmolLM2 of 1,543 nodes takes 2.1 MiB, one of 2,133 nodes 2.9
   * (`scripts/figures/planning.ts`).
   */
  planNodeBytes: 1.3 * 1024,
  /** Tensors over what a plan reads, places between calls, masks (SmolLM2: 0.2). */
  boundPlanBytes: 0.2 * MIB,
  boundPlanGarbageBytes: 0.15 * MIB,
  mostGarbageBytes: GARBAGE_BYTES,
  /** A V8 isolate with little in it. */
  shardBytes: 9 * MIB,
} as const;
