/**
 * The greatest order that was accepted here, so that an older one that somebody sends again, or a second one
 * with the same number, is refused.
 */
import { createHash } from "node:crypto";
import { BadInputError } from "../../errors.ts";
import { replaceFile } from "../../system/durable_files.ts";
import { readSmallText } from "../../system/small_file.ts";
import { encodeOrder, type Order } from "../release/order.ts";

/** An order that was accepted. */
interface Seen {
  readonly sequence: number;
  /** SHA-256 of the order, in hexadecimal digits. */
  readonly digest: string;
}

/**
 * Accepts an order whose signature was verified, and writes that down before anything is done about it.
 *
 * @param path of the record; its folder must exist
 * @returns whether it is a new one
 * @throws {BadInputError} if a greater order was accepted before, or another one with its number
 */
export function acceptOrder(path: string, order: Order): boolean {
  const seen = readSeen(path);
  const { sequence } = order;
  const digest = createHash("sha256").update(encodeOrder(order)).digest("hex");
  if (seen !== undefined && sequence < seen.sequence) {
    throw new BadInputError(
      `Order ${sequence} is older than order ${seen.sequence}, which was accepted before: somebody sends ` +
        "an old one again, or the store was restored from a backup: it is refused; a new order is " +
        "accepted (graft fleet publish or rollback)",
    );
  }
  if (seen?.sequence === sequence) {
    if (seen.digest === digest) return false;
    throw new BadInputError(
      `There are two orders with the number ${sequence}: the second one is refused; give a new one`,
    );
  }
  replaceFile(path, new TextEncoder().encode(JSON.stringify({ sequence, digest } satisfies Seen)));
  return true;
}

function readSeen(path: string): Seen | undefined {
  const text = readSmallText(path);
  if (text === undefined) return undefined;
  try {
    const { sequence, digest } = JSON.parse(text);
    if (Number.isSafeInteger(sequence) && typeof digest === "string") return { sequence, digest };
  } catch {
    // said below
  }
  // A lost record must not let an old order in: files are replaced whole, so a person did this.
  throw new BadInputError(
    `${path} is damaged: it says which order was accepted last. Remove it if the order that the fleet ` +
      "has now is to be accepted, whatever its number",
  );
}
