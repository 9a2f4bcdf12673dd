/** Who may run a round. */
import { StorageError } from "../errors.ts";
import { HeldFolder } from "../system/held_folder.ts";

/**
 * Refuses root in another user's folder: a round works there by paths, for hours and in processes of
 * its own, and that user could make any of them lead elsewhere.
 *
 * @throws {StorageError} saying what to run instead
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
