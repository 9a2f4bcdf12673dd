/** Leaves an error to nobody, in the way that it is told: WAY. */
import { BadInputError } from "../../src/errors.ts";
import { exitCodeOf } from "../../src/cli/terminal/exit.ts";
import { onUncaught } from "../../src/cli/terminal/uncaught.ts";

onUncaught((error) => {
  console.log((error as Error).message);
  Deno.exit(exitCodeOf(error));
});
const [way] = Deno.args;
if (way === "promise") void Promise.reject(new Error("nobody waits"));
if (way === "timer") {
  setTimeout(() => {
    throw new BadInputError("a file is bad");
  });
}
setTimeout(() => console.log("it went on"), 1000);
