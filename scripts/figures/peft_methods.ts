/**
 * How far every method that PEFT trains, too, is from PEFT, on the tiny models: losses of the first steps,
 * logits of the trained adapters, of graft's adapter in PEFT, and merged.
 *
 * usage: deno run -A scripts/figures/peft_methods.ts [NAME…]
 */
import { comparePeftMethods, PEFT_METHODS } from "../../tests/helpers/peft_methods.ts";
import {
  compareVirtualTokens,
  VIRTUAL_TOKENS_CASES,
} from "../../tests/helpers/virtual_tokens_in_peft.ts";
import { markdownTable } from "../markdown_table.ts";

const names = Deno.args;
const methods = PEFT_METHODS.filter(({ name }) => names.length === 0 || names.includes(name));
const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
const found = await comparePeftMethods(methods, folder);
const cases = VIRTUAL_TOKENS_CASES.filter(({ method }) =>
  names.length === 0 || names.includes(method)
);
const tokens = cases.length === 0 ? [] : await compareVirtualTokens(cases, folder);
Deno.removeSync(folder, { recursive: true });

const power = (value: number | undefined) => value?.toExponential(1) ?? "–";
if (found.length > 0) {
  console.log(markdownTable(
    ["method", "trained", "loss", "start", "loss difference", "trained", "loaded", "merged"],
    found.map((parity) => [
      parity.name,
      parity.trained.join(" / "),
      `${parity.losses[0].toFixed(3)} → ${parity.losses.at(-1)!.toFixed(3)}`,
      power(parity.startDifference),
      power(parity.lossDifference),
      power(parity.trainedDifference),
      power(parity.loadedDifference),
      power(parity.mergedDifference),
    ]),
  ));
}
if (tokens.length > 0) {
  console.log(markdownTable(
    ["method", "model", "loss", "loss difference", "values", "loaded", "merged"],
    tokens.map(({ method, model, losses, ...parity }) => [
      ...[method, model, `${losses[0].toFixed(3)} → ${losses.at(-1)!.toFixed(3)}`],
      power(parity.lossDifference),
      power(parity.valueDifference),
      power(parity.logitDifference),
      power(parity.mergedDifference),
    ]),
  ));
}
