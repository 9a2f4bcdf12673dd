/**
 * The everyday tests on a machine that has little time for them: beside loops that keep its cores busy, at the
 * tests' own priority. Finds tests that expect an answer sooner than such a machine gives it.
 *
 * usage: deno task campaign:busy [LOOPS] [TIER…] [-- flags of deno test]  (default: four for each core, all)
 */
import { setPriority } from "node:os";
import { LOWEST_PRIORITY } from "../test.ts";

const [first = `${4 * navigator.hardwareConcurrency}`, ...rest] = Deno.args;
const loops = Number(first);
if (!Number.isInteger(loops) || loops < 1) {
  console.error(`LOOPS must be a whole number >= 1: current value is "${first}"`);
  Deno.exit(2);
}
setPriority(LOWEST_PRIORITY); // loops before the tests would leave them no time at all
const end = new AbortController();
const busy = Array.from(
  { length: loops },
  () =>
    new Deno.Command(Deno.execPath(), { args: ["eval", "for (;;);"], signal: end.signal }).spawn(),
);
const { code } = await new Deno.Command(Deno.execPath(), {
  args: ["run", "-A", "scripts/test.ts", ...rest],
}).spawn().status;
end.abort();
await Promise.all(busy.map(({ status }) => status));
Deno.exit(code);
