import { concat } from "@std/bytes/concat";
import { encodeAdapter } from "../../src/lora/adapter_files.ts";

/** An adapter's files, each in one piece. */
export function adapterBytes(adapter: Parameters<typeof encodeAdapter>[0]) {
  return new Map([...encodeAdapter(adapter)].map(([name, parts]) => [name, concat(parts)]));
}
