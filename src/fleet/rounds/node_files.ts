/** What a box keeps of its place in a fleet: its key, and its number at the SuperLink. */
import { join } from "@std/path";
import { changeMode, exists, replaceFile } from "../../system/durable_files.ts";
import { readTextFile } from "../../system/small_file.ts";
import { NodeIdentity } from "../flower/identity.ts";

const [KEY, PUBLIC_KEY] = ["key.pem", "key.pub"];
/** Only the owner may read a private key. */
const PRIVATE = 0o600;

/**
 * The box's key pair, made at the first start. Its public key is beside it, in OpenSSH's format.
 *
 * @param given file of a key to use instead
 */
export function keepIdentity(folder: string, given?: string): NodeIdentity {
  if (given !== undefined) return NodeIdentity.parse(readTextFile(given), given);
  const path = join(folder, KEY);
  if (exists(path)) return NodeIdentity.parse(readTextFile(path), path);
  const identity = NodeIdentity.generate();
  // Empty and closed to others before the key is in it.
  const pending = `${path}.new`;
  replaceFile(pending, new Uint8Array());
  changeMode(pending, PRIVATE);
  writeInPlace(pending, identity.format());
  Deno.renameSync(pending, path);
  replaceFile(
    join(folder, PUBLIC_KEY),
    new TextEncoder().encode(identity.formatPublic("graft")),
  );
  return identity;
}

function writeInPlace(path: string, text: string): void {
  using file = Deno.openSync(path, { write: true, truncate: true });
  file.writeSync(new TextEncoder().encode(text));
  file.syncSync();
}

/** The number that a box last had at a SuperLink. */
export class NodeRecord {
  constructor(readonly path: string, readonly url: string) {}

  /** `undefined` if it was not at this SuperLink. */
  read(): bigint | undefined {
    if (!exists(this.path)) return undefined;
    try {
      const { url, node } = JSON.parse(readTextFile(this.path));
      return url === this.url && /^\d{1,20}$/.test(node) ? BigInt(node) : undefined;
    } catch {
      return undefined; // it will be written again
    }
  }

  write(id: bigint): void {
    const record = { url: this.url, node: String(id) };
    replaceFile(this.path, new TextEncoder().encode(JSON.stringify(record) + "\n"));
  }
}
