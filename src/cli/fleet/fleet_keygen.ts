/** `graft fleet keygen`: makes the operator's pair of keys. */
import { EXIT, StorageError, UsageError } from "../../errors.ts";
import { generateKeys, parseTrustedKeys } from "../../fleet/release/keys.ts";
import { exists, syncFile } from "../../system/durable_files.ts";
import { command } from "../command.ts";
import { text } from "../flags.ts";

export default command({
  name: "fleet keygen",
  summary: "Make the Ed25519 key that signs releases, and the public key that boxes are given",
  flags: {
    savePath: text("Path of the files, without .key and .pub", {
      default: "fleet",
      placeholder: "PATH",
    }),
  },
  examples: [{ command: "graft fleet keygen", does: "writes fleet.key and fleet.pub" }],
  run({ flags, terminal }) {
    const [privatePath, publicPath] = ["key", "pub"].map((ending) => `${flags.savePath}.${ending}`);
    const there = [privatePath, publicPath].find(exists);
    if (there !== undefined) {
      throw new UsageError(
        `${there} exists, and boxes may trust it: name another path with --save-path`,
      );
    }
    const { privateKey, publicKey } = generateKeys();
    writeKey(privatePath, privateKey, 0o600);
    writeKey(publicPath, publicKey, 0o644);
    const [id] = parseTrustedKeys(publicKey, publicPath).keys();
    terminal.print(`Key ${id}`);
    terminal.print(`${privatePath}  signs: keep it, and a copy, away from boxes and servers`);
    terminal.print(`${publicPath}  verifies: each box is given this file`);
    return Promise.resolve(EXIT.ok);
  },
});

/** Nobody else can read a private key, from its first moment on. */
function writeKey(path: string, text: string, mode: number): void {
  try {
    Deno.writeTextFileSync(path, text, { createNew: true, mode });
  } catch (error) {
    throw new StorageError(`Cannot write ${path}: ${(error as Error).message}`, { cause: error });
  }
  syncFile(path);
}
