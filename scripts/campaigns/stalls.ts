/**
 * The everyday tests in processes that stand still now and then, while the processes that they watch go on.
 * Finds tests that miss what is there for a moment only.
 *
 * usage: deno task campaign:stalls [TIER…] [-- flags of deno test]  (default: all)
 */
import { fromFileUrl } from "@std/path";

const preload = fromFileUrl(import.meta.resolve("./stand_still.ts"));
const split = Deno.args.indexOf("--");
const tiers = split < 0 ? Deno.args : Deno.args.slice(0, split);
const flags = split < 0 ? [] : Deno.args.slice(split + 1);
const { code } = await new Deno.Command(Deno.execPath(), {
  args: ["run", "-A", "scripts/test.ts", ...tiers, "--", `--preload=${preload}`, ...flags],
}).spawn().status;
Deno.exit(code);
