/** Which release a model of a box came from: a small file beside the model, as the journal may be lost. */
import { join } from "@std/path";
import { replaceFile } from "../../system/durable_files.ts";
import { readSmallText } from "../../system/small_file.ts";
import { isDigest, isReleaseName } from "../release/order.ts";

/** A release as a model remembers it. */
interface ModelRelease {
  readonly id: string;
  readonly name: string;
}

const FILE = "release.json";

/** @param folder of a cycle, which becomes the model's */
export function saveModelRelease(folder: string, { id, name }: ModelRelease): void {
  replaceFile(join(folder, FILE), new TextEncoder().encode(JSON.stringify({ id, name })));
}

/** The release that a model came from; `undefined` for one of the box's own. */
export function modelRelease(folder: string): ModelRelease | undefined {
  const text = readSmallText(join(folder, FILE));
  if (text === undefined) return undefined;
  try {
    const { id, name } = JSON.parse(text);
    return isDigest(id) && isReleaseName(name) ? { id, name } : undefined;
  } catch {
    return undefined;
  }
}
