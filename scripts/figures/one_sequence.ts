/**
 * Where a training step over one sequence of 1,024 tokens takes longer than one over four of 256: tokens a
 * second of both, and the milliseconds more a step by what they are spent on, as `graft bench train --profile`
 * tells them. Prints a JSON line.
 *
 * usage: deno run -A scripts/figures/one_sequence.ts [MODEL] (default: SmolLM2 in ../shared)
 */
import { graft } from "./children.ts";

/** Operators by what they do in attention; those of other layers take as long for either batch. */
const PARTS: Readonly<Record<string, readonly string[]>> = {
  productsOfAttention: ["FusedMatMul", "MatMul"],
  arithmeticOverScores: ["Add", "Mul", "Sub", "ReduceSum", "Softmax"],
  lookingUpKeysAndValues: ["Gather"],
  addingUpTheirCotangents: ["ScatterND"],
};

const model = Deno.args[0] ?? "../shared/models/smollm2-135m-instruct-int4";

/** Times steps over a batch of so many sequences. */
async function times(batchSize: number, length: number) {
  const { stdout } = await graft(
    ...["bench", "train", "--model", model, "--target-modules", "all-linear", "--rank", "16"],
    ...["--batch-size", `${batchSize}`, "--length", `${length}`, "--steps", "2"],
    ...["--profile", "--json"],
  );
  const [{ operators_ms, step_ms, other_ms, tokens_per_s }] = JSON.parse(stdout).configurations;
  const operators = new Map<string, Record<string, number>>(Object.entries(operators_ms));
  const taken = (names: readonly string[]) =>
    names.flatMap((name) => Object.values(operators.get(name) ?? {})).reduce((a, b) => a + b, 0);
  const parts = Object.entries(PARTS).map(([part, names]) => [part, taken(names)] as const);
  const ms = new Map([["all", step_ms], ["outsideOfOperators", other_ms], ...parts]);
  return { ms, tokensPerSecond: Math.round(tokens_per_s) };
}

const one = await times(1, 1024);
const four = await times(4, 256);
console.log(JSON.stringify({
  model,
  tokensPerSecond: { one: one.tokensPerSecond, four: four.tokensPerSecond },
  ratio: Number((four.ms.get("all") / one.ms.get("all")).toFixed(2)),
  moreMsPerStep: Object.fromEntries(
    [...one.ms].map(([part, ms]) => [part, Math.round(ms - four.ms.get(part))]),
  ),
}));
