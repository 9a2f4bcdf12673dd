import { assert, assertEquals } from "@std/assert";
import { chooseNumeric, type Opened } from "../../src/finetune/choose_numeric.ts";
import type { NumericEvent } from "../../src/finetune/mod.ts";
import type { TokenBatch } from "../../src/data/targets.ts";
import { int64 } from "../../src/graph/tensor.ts";
import type { Numeric } from "../../src/plan/names.ts";

/** Milliseconds of a pass: more than what two passes have to take to be told apart. */
const PASS = { exact: 210, fast: 300 };

/** A model whose settings have one gradient and take different times. */
function opened(numeric: Numeric, passes: Numeric[]): Opened {
  const step = {
    numeric,
    sliced: false,
    parameters: [{ grad: { read: () => ({ dtype: "float32", dims: [1], bytes: ONE }) } }],
    zeroGrad() {},
    async accumulate() {
      passes.push(step.numeric);
      await new Promise((resolve) => setTimeout(resolve, PASS[step.numeric]));
    },
    [Symbol.dispose]() {},
  };
  const arithmetic = { numeric, rotated: false, sliced: false };
  return { arithmetic, fit: { sequences: 1 }, step } as unknown as Opened;
}

const ONE = new Uint8Array(Float32Array.of(1).buffer);

const batch = (): TokenBatch => ({
  inputIds: int64([1, 2], [1, 2]),
  attentionMask: int64([1, 2], [1, 1]),
  labels: [-100, 2],
  tokenCount: 2,
});

async function chosen(known: Parameters<typeof chooseNumeric>[4]) {
  const [events, passes]: [NumericEvent[], Numeric[]] = [[], []];
  const open = ({ numeric }: { numeric: Numeric }) => Promise.resolve(opened(numeric, passes));
  const { opened: model, choice } = await chooseNumeric(
    opened("fast", passes),
    open,
    batch(),
    (event) => void events.push(event),
    known,
  );
  return { numeric: model.arithmetic.numeric, choice, events, passes: passes.length };
}

Deno.test("chooseNumeric() goes on in exact where products lead little and whole steps are quicker in it", async () => {
  const { numeric, choice, events } = await chosen({ integerLead: 1.3 });
  assertEquals([numeric, choice.setting, choice.quicker], ["exact", "exact", "exact"]);
  const last = events.at(-1)!;
  if (last.kind !== "exact is quicker") throw new Error(`Found ${last.kind}`);
  assert(last.times.exact < last.times.fast);
});

Deno.test("chooseNumeric() stays in fast where integers lead clearly or a run before has measured", async () => {
  for (const known of [{ integerLead: 2.5 }, { integerLead: 1.3, quicker: "fast" as const }]) {
    const { numeric, choice, passes } = await chosen(known);
    assertEquals([numeric, choice.setting, passes], ["fast", "fast", 2]);
  }
});
