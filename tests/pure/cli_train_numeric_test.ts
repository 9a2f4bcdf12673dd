import { assertEquals, assertMatch } from "@std/assert";
import { chooseNumeric, type Opened } from "../../src/cli/train_numeric.ts";
import type { Terminal } from "../../src/cli/output.ts";
import type { TokenBatch } from "../../src/data/targets.ts";
import { int64 } from "../../src/graph/tensor.ts";
import { type Arithmetic, arithmeticOf, IN_FLOATS, numericOf } from "../../src/plan/arithmetic.ts";
import type { Numeric } from "../../src/plan/names.ts";

/** Milliseconds of a pass: more than what two passes have to take to be told apart. */
const PASS = { exact: 210, fast: 300 };

/** A model whose settings have one gradient and take different times. */
function opened(arithmetic: Arithmetic, passes: Numeric[]): Opened {
  const step = {
    arithmetic,
    parameters: [{ grad: { read: () => ({ dtype: "float32", dims: [1], bytes: ONE }) } }],
    zeroGrad() {},
    async accumulate(_batch: TokenBatch, _seed: number, _upcoming: undefined, how: Arithmetic) {
      const numeric = numericOf(how);
      passes.push(numeric);
      await new Promise((resolve) => setTimeout(resolve, PASS[numeric]));
    },
    [Symbol.dispose]() {},
  };
  return { arithmetic, fit: { sequences: 1 }, step } as unknown as Opened;
}

const ONE = new Uint8Array(Float32Array.of(1).buffer);

const batch = (): TokenBatch => ({
  inputIds: int64([1, 2], [1, 2]),
  attentionMask: int64([1, 2], [1, 1]),
  labels: [-100, 2],
  tokenCount: 2,
});

async function chosen(known: Omit<Parameters<typeof chooseNumeric>[4], "exact">) {
  const [notes, passes]: [string[], Numeric[]] = [[], []];
  const terminal = { note: (line: string) => notes.push(line) } as unknown as Terminal;
  const open = (arithmetic: Arithmetic) => Promise.resolve(opened(arithmetic, passes));
  const { opened: model, choice } = await chooseNumeric(
    opened(arithmeticOf({ numeric: "fast" }), passes),
    open,
    batch(),
    terminal,
    { exact: IN_FLOATS, ...known },
  );
  return { numeric: numericOf(model.arithmetic), choice, notes, passes: passes.length };
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
