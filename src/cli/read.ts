/** Reading the small files a command line names. */
import { BadInputError } from "../errors.ts";

/**
 * The text of a file.
 *
 * @throws {BadInputError} where it cannot be read, naming it
 */
export function readTextFile(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    const why = error instanceof Deno.errors.NotFound ? "no such file" : (error as Error).message;
    throw new BadInputError(`Cannot read ${path}: ${why}`, { cause: error });
  }
}
