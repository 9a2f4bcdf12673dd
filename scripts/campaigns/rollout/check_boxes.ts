/** Reads what boxes use from their folders, as they are at the moment. */
import { join } from "@std/path";
import { parseJournal } from "../../../src/service/journal.ts";

/** The release whose model a box uses, `base` for none; and whether that model has its certificate. */
export function inUse(folder: string): { readonly name: string; readonly isCertified: boolean } {
  const current = join(folder, "state/current");
  let target: string;
  try {
    target = Deno.readLinkSync(current);
  } catch {
    return { name: "base", isCertified: true };
  }
  const model = join(folder, "state", target);
  try {
    const { name } = JSON.parse(Deno.readTextFileSync(join(model, "../release.json")));
    const { method } = JSON.parse(Deno.readTextFileSync(join(model, "certificate.json")));
    return { name, isCertified: typeof method === "string" };
  } catch {
    return { name: "unknown", isCertified: false };
  }
}

/** Promotions in a box's journal, and those that no evaluation with a better loss came before. */
export function promotions(
  folder: string,
): { readonly count: number; readonly unmeasured: number } {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = Deno.readFileSync(join(folder, "state/journal"));
  } catch {
    return { count: 0, unmeasured: 0 };
  }
  const { records, damage } = parseJournal(bytes);
  if (damage !== undefined) throw new Error(`${folder} has a damaged journal`);
  let [count, unmeasured] = [0, 0];
  for (const record of records) {
    if (record.step !== "promoted") continue;
    count++;
    const measured = records.some((other) =>
      other.step === "evaluated" && other.cycle === record.cycle && other.better
    );
    if (!measured) unmeasured++;
  }
  return { count, unmeasured };
}
