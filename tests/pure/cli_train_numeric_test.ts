import { assertEquals, assertMatch } from "@std/assert";
import { chooseNumeric, type Opened } from "../../src/cli/train_numeric.ts";
import type { Terminal } from "../../src/cli/output.ts";
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
  const [notes, passes]: [string[], Numeric[]] = [[], []];
  const terminal = { note: (line: string) => notes.push(line) } as unknown as Terminal;
  const open = ({ numeric }: { numeric: Numeric }) => Promise.resolve(opened(numeric, passes));
  const { opened: model, choice } = await chooseNumeric(
    opened("fast", passes),
    open,
    batch(),
    terminal,
    known,
  );
  return { numeric: model.arithmetic.numeric, choice, notes, passes: passes.length };
}

Deno.test("chooseNumeric() goes on in exact where products lead little and whole steps are quicker in it", async () => {
  const { numeric, choice, notes } = await chosen({ integerLead: 1.3 });
  assertEquals([numeric, choice.setting, choice.quicker], ["exact", "exact", "exact"]);
  assertMatch(notes.at(-1)!, /exact is quicker on this device: .* in fast; going on in exact/);
});

Deno.test("chooseNumeric() stays in fast where integers lead clearly or a run before has measured", async () => {
  for (const known of [{ integerLead: 2.5 }, { integerLead: 1.3, quicker: "fast" as const }]) {
    const { numeric, choice, passes } = await chosen(known);
    assertEquals([numeric, choice.setting, passes], ["fast", "fast", 2]);
  }
});
