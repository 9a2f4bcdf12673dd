/** The model that graft carries, and the data to try it with, by name. */
import { CARRIED, carriedPath } from "../system/embedded.ts";

/** Folders under `models`, by the names that stand for them. */
const FOLDERS = { default: "all-minilm-l6-v2-int8", quickstart: "quickstart" } as const;

/** The embedded sentence encoder's name on the command line. */
export const DEFAULT_MODEL = "default";
/** The name of the data that the quickstart learns. */
export const QUICKSTART_DATA = "quickstart";

/**
 * The path of what a name stands for: the name itself, save where graft carries something under it
 * and no file or folder has it.
 */
export function withCarried(name: string): string {
  if (!Object.hasOwn(FOLDERS, name) || isThere(name)) return name;
  const path = carriedPath(CARRIED.models, FOLDERS[name as keyof typeof FOLDERS]);
  return isThere(path) ? path : name; // a build may come without
}

/**
 * A message in which what a binary carries has the name that the user knows, as `quickstart/test.csv`:
 * its paths are on no disk.
 */
export function withCarriedNames(message: string): string {
  if (!Deno.build.standalone) return message;
  return Object.entries(FOLDERS).reduce(
    (text, [name, folder]) => text.replaceAll(carriedPath(CARRIED.models, folder), name),
    message,
  );
}

function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false; // whoever opens it says why
  }
}
