/**
 * Prints the graphs and the plan in docs/design/planning.md anew, from the passes as they are.
 *
 * usage: deno run -A scripts/planning_page.ts
 */
import { PLANNING_PAGE, printedPage } from "../tests/helpers/planning_page.ts";

Deno.writeTextFileSync(PLANNING_PAGE, printedPage(Deno.readTextFileSync(PLANNING_PAGE)));
