/**
 * What a run keeps and how many sequences it computes at once, beside its adapter: a resume goes on
 * with the same, however much memory is free by then, so that its numbers are the same to the bit.
 */
import { join } from "@std/path";
import { replaceFile } from "../system/durable_files.ts";

const FILE = "memory.json";

export interface ChosenMemory {
  /** Bytes of activations kept for the backward pass. */
  readonly keepBytes: number;
  readonly sequences: number;
}

/** The choice of an earlier run into this folder; `undefined` where none can be read. */
export function readChosenMemory(adapterPath: string): ChosenMemory | undefined {
  try {
    const { keep_bytes, sequences } = JSON.parse(Deno.readTextFileSync(join(adapterPath, FILE)));
    const whole = [keep_bytes, sequences].every((value) => Number.isInteger(value) && value >= 0);
    return whole && sequences > 0 ? { keepBytes: keep_bytes, sequences } : undefined;
  } catch {
    return undefined;
  }
}

/** @throws {StorageError} where it cannot be written */
export function writeChosenMemory(adapterPath: string, chosen: ChosenMemory): void {
  const { keepBytes, sequences } = chosen;
  const text = JSON.stringify({ keep_bytes: keepBytes, sequences }) + "\n";
  replaceFile(join(adapterPath, FILE), new TextEncoder().encode(text));
}
