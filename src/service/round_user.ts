/** Checks the user of a round. */
import { StorageError } from "../errors.ts";
import { HeldFolder } from "../system/held_folder.ts";

/**
 * Refuses root in another user's folder: a round uses paths there, for hours and in several processes,
 * and that user could redirect any of them.
 *
 * @throws {StorageError} with the command to use instead
 */
export function checkRoundUser(folder: string): void {
  using held = HeldFolder.open(folder);
  if (held?.owner === undefined) return;
  const { uid } = held.owner;
  throw new StorageError(
    `${folder} belongs to user ${uid}, and root must not run a round there: \`systemctl start ` +
      `graft-train\`, or the same command as that user (sudo -u '#${uid}' …)`,
  );
}
