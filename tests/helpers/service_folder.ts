/** A service's folder as rounds leave it: two promoted models, the second in use. */
import { join } from "@std/path";
import type { JournalEvent } from "../../src/service/records.ts";
import { ServiceState } from "../../src/service/state.ts";

const CYCLES = ["0001", "0002"];

/** Makes the folder, with small files in the place of models. */
export function serviceFolder(folder: string): void {
  using state = ServiceState.open(folder);
  for (const [i, cycle] of CYCLES.entries()) {
    Deno.mkdirSync(join(state.model(cycle), "model"), { recursive: true });
    Deno.writeTextFileSync(join(state.model(cycle), "model/model.onnx"), cycle);
    const begun = { step: "begun", cycle, data: `sha256:${i}`, rows: 8, heldOut: 1 } as const;
    for (const event of [begun, { step: "trained", cycle }, { step: "merged", cycle }] as const) {
      state.record(event satisfies JournalEvent);
    }
    state.promote(cycle);
  }
}
