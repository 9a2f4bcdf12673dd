/**
 * Activations kept for power losses: `activations_child.ts FILE`. Puts four records into it, syncs and
 * prints `synced N` with all so far, three times.
 */
import { ActivationFile } from "../../../src/train/activation_file.ts";

export const RECORDS = 12;
const RECORDS_A_SYNC = 4;

/** The file as a run goes on with it. */
export function openActivations(path: string): ActivationFile {
  const options = { identity: "model", limitBytes: 1 << 20, resume: true };
  return ActivationFile.open(path, options)!;
}

export const keyOf = (record: number) => String(record + 1).padStart(32, "0");
export const contentOf = (record: number) => new Uint8Array(700 + 100 * record).fill(record + 1);

if (import.meta.main) {
  using file = openActivations(Deno.args[0]);
  for (let record = 0; record < RECORDS; record++) {
    file.put(keyOf(record), contentOf(record));
    if ((record + 1) % RECORDS_A_SYNC !== 0) continue;
    file.sync();
    console.log(`synced ${record + 1}`);
  }
}
