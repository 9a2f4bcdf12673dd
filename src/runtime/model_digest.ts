/** Digests of a session's model, weights included. */
import { dirname, join } from "@std/path";
import type { Model } from "../graph/types.ts";

/** SHA-256, in hexadecimal digits, of a model in memory. */
export async function modelDigest(model: Model, encoded: Uint8Array): Promise<string> {
  const parts = [await bytesDigest(encoded)];
  for (const [name, { bytes }] of model.graph.initializers) {
    parts.push(`${name} ${await bytesDigest(bytes)}`);
  }
  return await bytesDigest(new TextEncoder().encode(parts.join("\n")));
}

/** The same for a model file and all files in its folder, where its external data is. */
export async function folderDigest(path: string): Promise<string> {
  const folder = dirname(path);
  // Links too, because pulled models are links; pipes and devices have no end.
  const names = Array.from(Deno.readDirSync(folder), ({ name }) => name)
    .filter((name) => isFile(join(folder, name))).sort();
  const parts: string[] = [path.slice(folder.length)];
  for (const name of names) {
    parts.push(`${name} ${await bytesDigest(await Deno.readFile(join(folder, name)))}`);
  }
  return await bytesDigest(new TextEncoder().encode(parts.join("\n")));
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false; // a dangling link
  }
}

/** The same for a file in memory with its weights inside. */
export async function bytesDigest(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return new Uint8Array(digest).toHex();
}
