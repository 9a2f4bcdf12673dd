import { assert, assertEquals } from "@std/assert";
import { PLANNING_PASSES } from "../../src/plan/planning_passes.ts";
import { PLANNING_PAGE, printedPage } from "../helpers/planning_page.ts";

const page = Deno.readTextFileSync(PLANNING_PAGE);

Deno.test("docs/design/planning.md prints what the passes make: scripts/planning_page.ts writes it anew", () => {
  assertEquals(page, printedPage(page));
});

Deno.test("docs/design/planning.md has all passes, in their order", () => {
  const headings = page.split("\n").flatMap((line) => line.match(/^### `([a-z-]+)`/)?.[1] ?? []);
  assertEquals(headings, PLANNING_PASSES.map(({ name }) => name));
});

Deno.test("printedPage() replaces what blocks hold, and nothing else", () => {
  const stale = page.replaceAll(/(```text\n)[^]*?```/g, "$1stale\n```");
  assert(stale !== page);
  assertEquals(printedPage(stale), page);
  const other = "<!-- a remark -->\n\ntext\n";
  assertEquals(printedPage(other), other);
});
