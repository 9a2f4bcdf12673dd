/**
 * `graft serve` under load, swaps of adapters, slow clients, disconnects, hostile requests and wrong keys
 * (PROMISES 5 to 11). Prints a JSON line for each case; ends with 1 if one fails.
 *
 * usage: deno task campaign:serve [SHARE] [CASE…]  (default: 1, all)
 */
import { SERVE_CASES } from "../../tests/helpers/serve_cases.ts";

const [first = "1", ...names] = Deno.args;
const share = Number(first);
if (!(share > 0)) {
  console.error(`SHARE must be > 0: current value is ${first}`);
  Deno.exit(2);
}
const unknown = names.find((name) => !Object.hasOwn(SERVE_CASES, name));
if (unknown !== undefined) {
  console.error(`There is no case ${unknown}; there are ${Object.keys(SERVE_CASES).join(", ")}`);
  Deno.exit(2);
}
let failed = false;
for (const [name, run] of Object.entries(SERVE_CASES)) {
  if (names.length > 0 && !names.includes(name)) continue;
  const start = performance.now();
  try {
    const figures = await run(share);
    const seconds = Math.round((performance.now() - start) / 1000);
    console.log(JSON.stringify({ case: name, ...figures, seconds }));
  } catch (error) {
    failed = true;
    console.log(JSON.stringify({ case: name, failed: (error as Error).message }));
  }
}
Deno.exit(failed ? 1 : 0);
