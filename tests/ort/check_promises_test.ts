import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { denoTypes, floatingPromises } from "../../scripts/check_promises.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

/** Lines of a source whose promises nobody waits for. */
const linesOf = (source: string) =>
  inTempDir((folder) => {
    const path = join(folder, "source.ts");
    Deno.writeTextFileSync(path, source);
    return floatingPromises([path], {}, denoTypes()).map(({ line }) => line);
  });

Deno.test("floatingPromises() finds statements whose promise nobody waits for, with their lines", async () => {
  const source = `declare function work(): Promise<void>;
declare const maybe: { work(): Promise<void> } | undefined;
work();
maybe?.work();
maybe && maybe.work();
work().finally(() => {});
work().then(() => {});
Deno.remove("file");
if (maybe) work();
[1].map((n) => {
  work();
  return n;
});
`;
  assertEquals(await linesOf(source), [3, 4, 5, 6, 7, 8, 9, 11]);
});

Deno.test("floatingPromises() leaves those that are waited for, kept, handled or meant to go on", async () => {
  const source = `declare function work(): Promise<void>;
await work();
const kept = work();
let later: Promise<void> | undefined;
later ??= work();
void work();
work().catch(() => {}).finally(() => {});
work().then(() => {}, () => {});
console.log(kept, later);
export const returned = () => work();
`;
  assertEquals(await linesOf(source), []);
});
