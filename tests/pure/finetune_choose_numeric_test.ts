import { assert, assertEquals } from "@std/assert";
import { chooseNumeric, type Opened } from "../../src/finetune/choose_numeric.ts";
import type { NumericEvent } from "../../src/finetune/mod.ts";
import type { TokenBatch } from "../../src/data/targets.ts";
import { int64, toNumbers } from "../../src/graph/tensor.ts";
import {
  type Arithmetic,
  arithmeticOf,
  IN_FLOATS,
  inFloats,
  numericOf,
  productsKey,
} from "../../src/plan/arithmetic.ts";
import type { Numeric } from "../../src/plan/names.ts";

/** Milliseconds of a pass: more than what two passes have to take to be told apart. */
const PASS = { exact: 210, fast: 300 };

/** A model whose settings have one gradient and take different times. */
function opened(arithmetic: Arithmetic, passes: Numeric[]): Opened {
  const step = {
    arithmetic,
    parameters: [{ grad: { read: () => ({ dtype: "float32", dims: [1], bytes: ONE }) } }],
    zeroGrad() {},
    async accumulate(
      _batch: TokenBatch,
      _seed: number,
      { arithmetic: how }: { arithmetic: Arithmetic },
    ) {
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
  const [events, passes]: [NumericEvent[], Numeric[]] = [[], []];
  const open = (arithmetic: Arithmetic) => Promise.resolve(opened(arithmetic, passes));
  const { opened: model, choice } = await chooseNumeric(
    opened(arithmeticOf({ numeric: "fast" }), passes),
    open,
    batch(),
    (event) => void events.push(event),
    { exact: IN_FLOATS, ...known },
  );
  return { numeric: numericOf(model.arithmetic), choice, events, passes: passes.length };
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

Deno.test("chooseNumeric() goes on in floats, with the same model, where no product reads 8 bits as the file has them", async () => {
  const exact = arithmeticOf({ sliced: true, readyWeights: true });
  const first = opened(exact, []);
  const planned: TokenBatch[] = [];
  const asked: Arithmetic[] = [];
  const step = {
    ...first.step,
    trainingPlanOf: (batch: TokenBatch) => (planned.push(batch), { readsStored: false }),
    inArithmetic: (arithmetic: Arithmetic) => (asked.push(arithmetic), { arithmetic }),
  } as unknown as Opened["step"];
  const { opened: model, choice } = await chooseNumeric(
    { ...first, step },
    () => Promise.reject(new Error("opened anew")),
    batch(),
    () => {},
    { exact },
  );
  assertEquals(planned, [batch()]);
  assertEquals(asked, [inFloats(exact)]);
  assertEquals([model.arithmetic, model.step.arithmetic], [inFloats(exact), inFloats(exact)]);
  assertEquals(choice.setting, "exact");
});

Deno.test("chooseNumeric() asks batches after the first before it leaves fast", async () => {
  const [differs, agrees] = [batchOf(3), batchOf(4)];
  for (
    const [later, setting] of [[[agrees], "fast"], [[differs], "exact"], [[], "exact"]] as const
  ) {
    const open = (arithmetic: Arithmetic) => Promise.resolve(differingIn(3, arithmetic));
    const { choice } = await chooseNumeric(
      differingIn(3, arithmeticOf({ numeric: "fast" })),
      open,
      differs,
      () => {},
      { exact: IN_FLOATS, integerLead: 3, later },
    );
    assertEquals(choice.setting, setting);
  }
});

Deno.test("chooseNumeric() gives up paired weights before fast, and rounds stored ones anew after that", async () => {
  for (
    const [readsStored, right, expected] of [
      [false, { form: "u8u8", rotated: false }, ["u8s8_paired", "u8u8"]],
      [true, { form: "u8u8", rotated: true }, ["u8s8_paired", "u8u8", "u8u8 rotated"]],
      [true, undefined, ["u8s8_paired", "u8u8", "u8u8 rotated", "floats"]],
    ] as const
  ) {
    const tried: string[] = [];
    const open = (arithmetic: Arithmetic) => {
      const { products } = arithmetic;
      const name = productsKey({ products }).replace("8-bit ", "");
      tried.push(name);
      const isRight = products.in === "8-bit integers" && products.form === right?.form &&
        products.rotated === right.rotated;
      const model = isRight ? opened(arithmetic, []) : differingIn(1, arithmetic);
      const step = { ...model.step, arithmetic, trainingPlanOf: () => ({ readsStored }) };
      return { ...model, step } as unknown as Opened;
    };
    const { opened: model, choice } = await chooseNumeric(
      open(arithmeticOf({ numeric: "fast", integerForm: "u8s8_paired" })),
      (arithmetic) => Promise.resolve(open(arithmetic)),
      batch(),
      () => {},
      { exact: IN_FLOATS, integerLead: 3 },
    );
    assertEquals(tried, expected);
    assertEquals(choice.setting, right === undefined ? "exact" : "fast");
    assertEquals(numericOf(model.arithmetic), choice.setting);
  }
});

const batchOf = (token: number): TokenBatch => ({
  ...batch(),
  inputIds: int64([1, 2], [token, 2]),
});

/** A model whose gradient in `fast` is another where a sequence begins with a token. */
function differingIn(token: number, arithmetic: Arithmetic): Opened {
  let gradient = new Float32Array();
  const step = {
    arithmetic,
    parameters: [{
      grad: {
        read: () => ({
          dtype: "float32",
          dims: [2],
          bytes: new Uint8Array(gradient.slice().buffer),
        }),
      },
    }],
    zeroGrad() {},
    accumulate({ inputIds }: TokenBatch, _seed: number, how: { arithmetic: Arithmetic }) {
      const differs = numericOf(how.arithmetic) === "fast" &&
        Number(toNumbers(inputIds)[0]) === token;
      gradient = Float32Array.of(1, differs ? 9 : 0);
      return Promise.resolve();
    },
    trainingPlanOf: () => ({ readsStored: false }),
    [Symbol.dispose]() {},
  };
  return { arithmetic, fit: { sequences: 1 }, step } as unknown as Opened;
}
