/** Finds the files of a data set. */
import { join } from "@std/path";
import { BadInputError } from "../../errors.ts";

/** Paths of a data set's parts. */
export interface DataPaths {
  /** File of training rows. */
  readonly train?: string;
  /** File of validation rows. */
  readonly valid?: string;
  /** File of test rows. */
  readonly test?: string;
}

const PARTS = ["train", "valid", "test"] as const;
const ENDINGS = [".jsonl", ".csv", ".tsv"];

/**
 * The parts in a folder (`train`, `valid`, `test`, each `.jsonl`, `.csv` or `.tsv`), or a single file,
 * which is the training part.
 *
 * @throws {BadInputError} if the path does not exist, a part exists twice, or a folder has no part
 */
export function findData(path: string): DataPaths {
  const kind = kindOf(path);
  if (kind === "file") return { train: path };
  if (kind === undefined) throw new BadInputError(`There is no data at ${path}`);
  const found: { train?: string; valid?: string; test?: string } = {};
  for (const part of PARTS) {
    const names = ENDINGS.map((ending) => part + ending)
      .filter((name) => kindOf(join(path, name)) === "file");
    if (names.length > 1) {
      throw new BadInputError(`${path} has both ${names.join(" and ")}: keep one of them`);
    }
    if (names.length === 1) found[part] = join(path, names[0]);
  }
  if (Object.keys(found).length === 0) {
    throw new BadInputError(
      `${path} has no data: it must hold train.jsonl (or train.csv), and may hold valid and test`,
    );
  }
  return found;
}

function kindOf(path: string): "file" | "folder" | undefined {
  try {
    return Deno.statSync(path).isDirectory ? "folder" : "file";
  } catch {
    return undefined;
  }
}
