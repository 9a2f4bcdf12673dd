/** A pull for tests that kill it: `pull_child.ts ARGUMENTS OF graft pull`; prints `start` before it. */
import { parseArguments } from "../../src/cli/args.ts";
import { resolveValues } from "../../src/cli/config.ts";
import { exitCodeOf, formatError } from "../../src/cli/terminal/exit.ts";
import { processTerminal } from "../../src/cli/terminal/output.ts";
import pull from "../../src/cli/models/pull.ts";

try {
  const { values: typed, operands } = parseArguments(Deno.args, pull.flags);
  const { values, given } = resolveValues(pull.flags, typed, {});
  console.log("start");
  Deno.exit(await pull.run({ flags: values, given, operands, terminal: processTerminal() }));
} catch (error) {
  console.error(formatError(error, true));
  Deno.exit(exitCodeOf(error));
}
